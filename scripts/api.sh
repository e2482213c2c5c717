#!/usr/bin/env bash
# usage: api.sh DIR
# Writes the exported API of each public package to a file in DIR, so that a change of it shows up in a review.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?directory}
mkdir -p "$out"
rm -f "$out"/*.txt
module=$(go list -m)
# The types of internal/event are public by aliases.
for pkg in $(go list ./... | grep -Ev '/(internal|cmd|deploy|examples|bench|interop|tools)(/|$)') "$module/internal/event"; do
  name=${pkg#"$module"}
  name=${name#/}
  name=${name:-sockeye}
  # Signatures alone: a change of words is none of the API. The package comment ends at the first heading, comments
  # of symbols are indented by four blanks, those of fields are Go's.
  go doc -all "$pkg" | awk '
    NR == 1 { print; next }
    /^(CONSTANTS|VARIABLES|FUNCTIONS|TYPES)$/ { body = 1; print "\n" $0; next }
    !body || /^    / || /^[[:space:]]*(\/\/.*)?$/ { next }
    { sub(/[[:space:]]+\/\/.*$/, ""); print }' >"$out/${name//\//_}.txt"
done
