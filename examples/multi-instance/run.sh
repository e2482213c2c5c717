#!/usr/bin/env bash
# usage: run.sh [ADMIN-PAGE]
# Runs three instances at 127.0.0.1:3000 to 3002 and a Redis at 6390, until Ctrl-C. The password of user "admin" is
# "changeit". ADMIN-PAGE is the directory ui/dist of the npm package @socket.io/admin-ui.
set -euo pipefail
cd "$(dirname "$0")"
bin=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$bin"' EXIT
go build -o "$bin/app" .
redis-server --port 6390 --bind 127.0.0.1 --save '' --appendonly no --dir "$bin" >"$bin/redis.log" &
until redis-cli -p 6390 ping >/dev/null 2>&1; do sleep 0.1; done
for i in 0 1 2; do
  "$bin/app" -addr "127.0.0.1:300$i" -redis redis://127.0.0.1:6390 -name "instance-$i" \
    -origin http://127.0.0.1:8080 -origin https://admin.socket.io \
    -admin-hash '$2a$10$dZyOiGplBpXxfcvHAnza1O67f1JGDqHOkH59XyzdWBXGdI25HCW.O' ${1:+-admin-page "$1"} &
done
wait
