#!/bin/sh
# clang-tidy over every source in a compile database, skipping what passed before unchanged.
# usage: tidy.sh BUILD-DIRECTORY [FILE…]
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
cd "$top"
build=${1:?usage: tidy.sh BUILD-DIRECTORY [FILE…]}
shift
stamps=$build/tidy
mkdir -p "$stamps"

# Any header may matter to any source: a change of one checks all sources again.
common=$({
  cat .clang-tidy
  git ls-files -z --cached --others --exclude-standard -- '*.h' | xargs -0 cat
} | sha256sum | cut -c 1-32)

tidy_one() {
  stamp=$stamps/$common-$(sha256sum < "$1" | cut -c 1-32)
  [ -e "$stamp" ] && return 0
  # The database may be of g++ and name warnings of its own.
  if nice clang-tidy -p "$build" --quiet --extra-arg=-Wno-unknown-warning-option "$1" \
    > "$stamp.log" 2> /dev/null; then
    rm -f "$stamp.log"
    touch "$stamp"
  else
    cat "$stamp.log"
    rm -f "$stamp.log"
    return 1
  fi
}

if [ "${TIDY_ONE:-}" ]; then
  tidy_one "$1"
  exit
fi

if [ $# -eq 0 ]; then
  # Sources the database does not know (the fuzz targets' own build) cannot be checked.
  list=$(mktemp)
  trap 'rm -f "$list"' EXIT INT TERM
  sed -n "s|^ *\"file\": \"$top/\(.*\)\",*\$|\1|p" "$build/compile_commands.json" | sort -u > "$list"
  xargs -r -n 1 -P "$(nproc)" env TIDY_ONE=yes "$0" "$build" < "$list"
else
  for file; do
    tidy_one "$file"
  done
fi
