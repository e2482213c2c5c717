#!/usr/bin/env bash
# usage: run-sentinel.sh [kill]
# The same with three Sentinels at 127.0.0.1:26400 to 26402, which make another Redis the master when it dies; until
# Ctrl-C. "run-sentinel.sh kill" in another terminal kills the master.
set -euo pipefail
cd "$(dirname "$0")"
master() { redis-cli -p 26400 sentinel get-master-addr-by-name mymaster 2>/dev/null | tail -1; }
if [ "${1:-}" = kill ]; then
  port=$(master || true)
  [ -n "$port" ] || { echo "no Sentinel at port 26400: run run-sentinel.sh first" >&2; exit 1; }
  redis-cli -p "$port" debug segfault >/dev/null 2>&1 || true
  echo "the master at port $port is gone"
  until now=$(master) && [ -n "$now" ] && [ "$now" != "$port" ]; do sleep 0.2; done
  echo "the master is now at port $now"
  exit
fi
tmp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$tmp"' EXIT
go build -o "$tmp/sockeye" ../../cmd/sockeye
redis() { redis-server --port "$1" --bind 127.0.0.1 --save '' --appendonly no --repl-diskless-sync-delay 0 \
  --enable-debug-command local --dir "$tmp" "${@:2}" >"$tmp/redis-$1.log" & }
redis 6400
until redis-cli -p 6400 ping >/dev/null 2>&1; do sleep 0.1; done
for port in 6401 6402; do
  redis "$port" --replicaof '127.0.0.1 6400'
  until redis-cli -p "$port" info replication 2>/dev/null | grep -q master_link_status:up; do sleep 0.1; done
done
for i in 0 1 2; do
  printf '%s\n' "port 2640$i" 'bind 127.0.0.1' "dir $tmp" 'sentinel monitor mymaster 127.0.0.1 6400 2' \
    'sentinel down-after-milliseconds mymaster 1000' 'sentinel failover-timeout mymaster 5000' >"$tmp/sentinel-$i.conf"
  redis-server "$tmp/sentinel-$i.conf" --sentinel >"$tmp/sentinel-$i.log" &
done
until [ "$(redis-cli -p 26400 sentinel ckquorum mymaster 2>/dev/null | cut -c1-2)" = OK ] &&
  redis-cli -p 26400 sentinel master mymaster | grep -A1 -x num-slaves | grep -qx 2; do sleep 0.2; done
for i in 0 1; do
  "$tmp/sockeye" serve --addr "127.0.0.1:300$i" \
    --redis redis+sentinel://127.0.0.1:26400,127.0.0.1:26401,127.0.0.1:26402/mymaster &
done
wait
