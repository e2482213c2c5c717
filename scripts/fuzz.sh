#!/usr/bin/env bash
# usage: fuzz.sh TIME [BUDGET]
# Runs each fuzz target for TIME (as 10s or 5m), one after another. With BUDGET, in seconds, the time of a
# target is cut so that all end within it; at least 2 s remain.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s} budget=${2:-0}

targets=()
while read -r pkg; do
  while read -r name; do
    targets+=("$pkg $name")
  done < <(go test -list '^Fuzz' "$pkg" | grep '^Fuzz' || true)
done < <(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' ./...)

count=${#targets[@]}
if [ "$count" = 0 ]; then
  echo "fuzz: no targets"
  exit 0
fi
if [ "$budget" -gt 0 ]; then
  # Building and starting a target takes about 5 s.
  each=$((budget / count - 5))
  [ "$each" -ge 2 ] || each=2
  asked=${time%s}
  if [ "$each" -lt "$asked" ]; then
    echo "fuzz: $count targets in $budget s: $each s each instead of $time"
    time=${each}s
  fi
fi
for target in "${targets[@]}"; do
  read -r pkg name <<<"$target"
  echo "fuzz: $pkg $name $time"
  go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -timeout 0 "$pkg"
done
