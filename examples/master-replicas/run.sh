#!/usr/bin/env bash
# usage: run.sh
# A Redis master at 127.0.0.1:6400, replicas of it at 6401 and 6402, and two servers that publish to the master and
# subscribe each at a replica of its own, at 127.0.0.1:3000 and 3001; until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$tmp"' EXIT
go build -o "$tmp/sockeye" ../../cmd/sockeye
redis() { redis-server --port "$1" --bind 127.0.0.1 --save '' --appendonly no --repl-diskless-sync-delay 0 \
  --dir "$tmp" "${@:2}" >"$tmp/redis-$1.log" & }
redis 6400
until redis-cli -p 6400 ping >/dev/null 2>&1; do sleep 0.1; done
for port in 6401 6402; do
  redis "$port" --replicaof '127.0.0.1 6400'
  until redis-cli -p "$port" info replication 2>/dev/null | grep -q master_link_status:up; do sleep 0.1; done
done
for i in 1 2; do
  "$tmp/sockeye" serve --addr "127.0.0.1:300$((i - 1))" \
    --redis redis://127.0.0.1:6400 --redis-sub "redis://127.0.0.1:640$i" &
done
wait
