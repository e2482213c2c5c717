#!/usr/bin/env bash
# usage: setup.sh [missing]
# Installs what the tests need and this machine lacks: a C compiler (for the race detector), Node, redis-server, tmux,
# nginx, HAProxy and Chromium from the packages of Debian and its kin, where that is allowed (root, or sudo without a password),
# and npm packages from the lock files. With "missing" it says only what is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

have() { command -v "$1" >/dev/null; }
die() { echo "setup: $*" >&2; exit 1; }
# What is missing is fatal in CI only; elsewhere the tests that need it are skipped.
lack() { if [ "${CI:-}" = true ]; then die "$*"; else echo "setup: $*" >&2; fi; }

packages() { # of Debian, that would give what is missing
  have gcc || have clang || printf '%s\n' gcc libc6-dev
  have redis-server || echo redis-server
  have tmux || echo tmux
  # They are where only root looks.
  PATH=$PATH:/usr/sbin have nginx || echo nginx
  PATH=$PATH:/usr/sbin have haproxy || echo haproxy
  have node && have npm || printf '%s\n' nodejs npm
  [ -n "${CHROMIUM:-}" ] || have chromium || have chromium-browser || have google-chrome || echo chromium
}
# npm writes this when it has finished.
installed() { [ "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" ]; }

mapfile -t missing < <(packages)
if [ "${1:-}" = missing ]; then
  for dir in web interop/node; do
    installed "$dir" || missing+=("the npm packages of $dir")
  done
  have valkey-server || missing+=(valkey-server) # tested where it is; Redis stands for it elsewhere
  for what in "${missing[@]}"; do
    echo "SKIPPED: the tests that need $what"
  done
  exit 0
fi

have go || die "Go 1.26 or later is needed: https://go.dev/dl/"
if [ ${#missing[@]} -gt 0 ]; then
  sudo=()
  [ "$(id -u)" = 0 ] || sudo=(sudo -n)
  if have apt-get && "${sudo[@]}" true 2>/dev/null; then
    echo "setup: installing ${missing[*]}"
    "${sudo[@]}" apt-get update -q || echo "setup: apt-get update has failed" >&2
    # RUNLEVEL=1: a redis-server of the system need not run.
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -q --no-install-recommends \
      "${missing[@]}" || lack "could not install ${missing[*]}"
  else
    lack "missing: ${missing[*]} (install them, or run as root)"
  fi
fi
have gcc || have clang || die "the race detector needs a C compiler"

if ! have node || ! have npm || [ "$(node -p 'process.versions.node.split(".")[0]')" -lt 20 ]; then
  lack "missing: node and npm, version 20 or later (https://nodejs.org/)"
  exit 0
fi
for dir in web interop/node; do
  installed "$dir" && continue
  echo "setup: npm packages of $dir"
  if (cd "$dir" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
    touch "$dir/node_modules/.package-lock.json"
  else
    lack "npm ci has failed in $dir"
  fi
done
