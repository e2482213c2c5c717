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

# Nobody here runs the other systems: that all packages and tests compile there is what can be held.
for system in "$(go env GOOS)" darwin windows; do
  GOOS=$system go vet ./... || { echo "go vet for $system has failed"; bad=1; }
done
tool golangci-lint run || bad=1
check "gofumpt (make fmt)" "$(git ls-files -z '*.go' | xargs -0r go tool -modfile=tools/go.mod gofumpt -l 2>&1)"
check "go fix (make fix)" "$(go fix -diff ./... 2>&1)"
check "go mod tidy (make tidy)" "$(go mod tidy -diff 2>&1)"
check "go mod tidy in tools (make tidy)" "$(cd tools && go mod tidy -diff 2>&1)"
check "lock files with registry addresses" "$(git ls-files '*package-lock.json' | xargs -r grep -l '"resolved"')"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
if scripts/api.sh "$fresh"; then
  check "exported API (make api)" "$(diff -ru api "$fresh" 2>&1)"
else
  bad=1
fi
[ "$bad" = 0 ] && echo "lint: no findings"
exit "$bad"
