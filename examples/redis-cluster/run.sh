#!/usr/bin/env bash
# usage: run.sh
# Makes a Redis Cluster of three masters and three replicas at 127.0.0.1:7000 to 7005, and runs three servers at
# 127.0.0.1:3000 to 3002, until Ctrl-C. "run.sh kill" in another terminal kills the master at port 7000.
set -euo pipefail
cd "$(dirname "$0")"
if [ "${1:-}" = kill ]; then
  redis-cli -p 7000 shutdown nosave || true
  echo "the master at port 7000 is gone; its replica takes over within seconds"
  exit
fi
tmp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$tmp"' EXIT
go build -o "$tmp/server" .
nodes=()
for port in 700{0..5}; do
  mkdir "$tmp/$port"
  redis-server --port "$port" --bind 127.0.0.1 --cluster-enabled yes --cluster-node-timeout 2000 \
    --repl-diskless-sync-delay 0 --save '' --appendonly no --dir "$tmp/$port" >"$tmp/$port/log" &
  nodes+=("127.0.0.1:$port")
done
for node in "${nodes[@]}"; do
  until redis-cli -p "${node##*:}" ping >/dev/null 2>&1; do sleep 0.1; done
done
redis-cli --cluster create "${nodes[@]}" --cluster-replicas 1 --cluster-yes >"$tmp/create"
until redis-cli -p 7000 cluster info | grep -q cluster_state:ok; do sleep 0.1; done
for port in 700{0..5}; do # a replica that has no copy yet cannot take over
  until redis-cli -p "$port" info replication | grep -qE 'role:master|master_link_status:up'; do sleep 0.1; done
done
for i in 0 1 2; do
  "$tmp/server" -addr "127.0.0.1:300$i" -redis redis+cluster://127.0.0.1:7000,127.0.0.1:7001,127.0.0.1:7002 &
done
wait
