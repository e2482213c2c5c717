#!/usr/bin/env bash
# usage: api.sh DIR
# Writes the exported API of each public package to a file in DIR, so that a change of it shows up in a review.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?directory}
mkdir -p "$out"
rm -f "$out"/*.txt
module=$(go list -m)
for pkg in $(go list ./... | grep -Ev '/(internal|cmd|examples|bench|interop|relay|tools)(/|$)'); do
  name=${pkg#"$module"}
  name=${name#/}
  name=${name:-sockeye}
  # Signatures only: comments are indented by four blanks and would hide changes of the API among those of words.
  go doc -all -short=false "$pkg" | grep -Ev '^    ([^ ]|$)|^$' >"$out/${name//\//_}.txt"
done
