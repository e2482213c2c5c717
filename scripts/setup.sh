#!/usr/bin/env bash
# Installs what the tests need and this machine lacks: npm packages from the lock files, redis-server and
# chromium from the system's packages where that is allowed (root, or sudo without a password).
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "setup: $*" >&2; exit 1; }
# A tool that is missing is fatal in CI only; elsewhere the tests that need it are skipped and say so.
lack() { if [ "${CI:-}" = true ]; then die "$*"; else echo "setup: $*" >&2; fi; }

command -v go >/dev/null || die "Go 1.26 or later is needed: https://go.dev/dl/"

missing=()
command -v redis-server >/dev/null || missing+=(redis-server)
[ -n "${CHROMIUM:-}" ] || command -v chromium >/dev/null || command -v chromium-browser >/dev/null ||
  command -v google-chrome >/dev/null || missing+=(chromium)
if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  if command -v apt-get >/dev/null && "${sudo[@]}" true 2>/dev/null; then
    echo "setup: installing ${missing[*]}"
    "${sudo[@]}" apt-get update -q || lack "apt-get update has failed"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends "${missing[@]}" ||
      lack "could not install ${missing[*]}"
  else
    lack "missing: ${missing[*]} (install them, or run as root)"
  fi
fi

if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  lack "missing: node and npm, version 20 or later: https://nodejs.org/"
  exit 0
fi
for dir in web interop/node; do
  # npm writes node_modules/.package-lock.json when it has finished.
  if [ "$dir/node_modules/.package-lock.json" -nt "$dir/package-lock.json" ]; then
    continue
  fi
  echo "setup: npm packages of $dir"
  (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error) || lack "npm ci has failed in $dir"
  touch "$dir/node_modules/.package-lock.json"
done
