#!/bin/sh
# Proves that include_rules.sh accepts a good tree and fails on each kind of bad one.
set -eu

rules=$(cd "$(dirname "$0")" && pwd)/include_rules.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
failures=0

# Makes a small tree that obeys the rules.
good_tree() {
  rm -rf "$work/tree"
  mkdir -p "$work/tree/base" "$work/tree/wire" "$work/tree/state" "$work/tree/tests/support"
  cat > "$work/tree/ARCHITECTURE.md" <<'TABLE'
| floor | folder | its one concern | may use |
|---|---|---|---|
| 0 | `base/` | all | – |
| 1 | `wire/` | bytes | base |
| 1 | `state/` | records | base |
| guest | `fc-agent/` | agent | base, wire |
TABLE
  printf '#pragma once\n#include <string>\n' > "$work/tree/base/fd.h"
  printf '#include "wire/frame.h"\n#include "base/fd.h"\n' > "$work/tree/wire/frame.cc"
  printf '#pragma once\n' > "$work/tree/wire/frame.h"
  printf '#include "tests/support/x.h"\n' > "$work/tree/wire/frame_test.cc"
  printf '#pragma once\n' > "$work/tree/tests/support/x.h"
}

# expect STATUS TEXT NAME: the rules end with STATUS and print TEXT.
expect() {
  status=0
  output=$(sh "$rules" "$work/tree" 2>&1) || status=$?
  if [ "$status" != "$1" ]; then
    echo "FAILED $3: status $status, expected $1; output: $output"
    failures=$((failures + 1))
  elif ! printf '%s' "$output" | grep -qF -- "$2"; then
    echo "FAILED $3: output lacks '$2': $output"
    failures=$((failures + 1))
  else
    echo "ok $3"
  fi
}

good_tree
expect 0 "every edge is in the table" "good tree is accepted"

good_tree
printf '\n#include "wire/frame.h"\n' > "$work/tree/base/fd.cc"
expect 1 'base/fd.cc:2: edge base -> wire' "upward edge names file, line and edge"

good_tree
printf '#include "wire/frame.h"\n' > "$work/tree/state/record.cc"
expect 1 'state/record.cc:1: edge state -> wire' "edge on one floor is refused"

good_tree
printf '#  include "nowhere/x.h"\n' > "$work/tree/wire/mux.cc"
expect 1 'the table has no folder nowhere/' "unknown folder is refused"

good_tree
printf '#include "fd.h"\n' > "$work/tree/base/fd.cc"
expect 1 'is not a path from the top' "include relative to the file is refused"

good_tree
printf '#include "wire/../wire/frame.h"\n' > "$work/tree/wire/mux.cc"
expect 1 'is not a path from the top' "include through .. is refused"

good_tree
printf '#include "tests/support/x.h"\n' > "$work/tree/wire/mux.cc"
expect 1 'only tests may use tests/' "production code does not use tests/support"

good_tree
printf '#include <spdlog/spdlog.h>\n' > "$work/tree/wire/mux.cc"
expect 1 'uses no Boost, curl or spdlog' "spdlog below the agent is refused"

good_tree
printf '#include <nlohmann/json.hpp>\n' > "$work/tree/state/record.h"
expect 1 'a public header includes <nlohmann/json.hpp>' "heavy public header is refused"

good_tree
mkdir "$work/tree/attic"
printf '\n' > "$work/tree/attic/a.cc"
expect 1 'folder attic/ has no row' "folder without a row is refused"

good_tree
# shellcheck disable=SC2016 # backquotes are the table's own
sed -i 's/| 0 | `base\/` | all | – |/| 0 | `base\/` | all | wire |/' "$work/tree/ARCHITECTURE.md"
expect 2 'row base uses wire, which is not on a lower floor' "upward row in the table is refused"

good_tree
printf 'no table\n' > "$work/tree/ARCHITECTURE.md"
expect 2 'no row of the table' "missing table is refused"

[ "$failures" -eq 0 ] || { echo "$failures check(s) failed"; exit 1; }
