#!/usr/bin/env bash
# usage: fuzz.sh TIME [BUDGET]
# Runs each fuzz target for TIME (as 10s or 5m), one after another. With BUDGET, in seconds, the time of a
# target is cut so that all end within it; at least 2 s remain.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${1:-10s} budget=${2:-0}

targets=()
while IFS=: read -r file declaration; do
  targets+=("$(dirname "$file") ${declaration#func }")
done < <(grep -rHoE --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]+' . | sort)

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
out=$(mktemp)
trap 'rm -f "$out"' EXIT
bad=0
for target in "${targets[@]}"; do
  read -r pkg name <<<"$target"
  echo "fuzz: $pkg $name $time"
  # Minimizing an input that only covers more would take up to a minute of the time.
  if ! go test -run '^$' -fuzz "^$name\$" -fuzztime "$time" -fuzzminimizetime 10x -timeout 0 "$pkg" | tee "$out"; then
    # The go command may take the end of the time for a failure of the target: then this line is all it says of it.
    if grep -A1 -e '^--- FAIL' "$out" | grep -qx ' *context deadline exceeded' &&
      ! grep -q -e 'Failing input' -e 'panic' -e '^    --- FAIL' "$out"; then
      echo "fuzz: $name: no failure, time was up"
    else
      bad=1
    fi
  fi
done
exit "$bad"
