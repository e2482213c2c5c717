#!/usr/bin/env bash
# Everything that `make lint` looks at. Reports all faults before it fails.
set -uo pipefail
cd "$(dirname "$0")/.."
bad=0
check() { # description, output that must be empty
  if [ -n "$2" ]; then
    printf '%s:\n%s\n' "$1" "$2"
    bad=1
  fi
}
tool() { go tool -modfile=tools/go.mod "$@"; }

go vet ./... || bad=1
tool golangci-lint run || bad=1
check "gofumpt" "$(git ls-files '*.go' | xargs -r go tool -modfile=tools/go.mod gofumpt -l 2>&1)"
check "go fix" "$(go fix -diff ./... 2>&1)"
check "go mod tidy" "$(go mod tidy -diff 2>&1)"
check "lock files with registry addresses" "$(grep -l '"resolved"' web/package-lock.json interop/node/package-lock.json 2>/dev/null)"
fresh=$(mktemp -d)
scripts/api.sh "$fresh" && check "make api" "$(diff -ru api "$fresh" 2>&1)"
rm -rf "$fresh"
exit $bad
