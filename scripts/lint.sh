#!/bin/sh
# Every check that needs no running program. usage: lint.sh [--quick]      --quick leaves out clang-tidy
set -eu
cd "$(dirname "$0")/.."

quick=
[ "${1:-}" = "--quick" ] && quick=yes
failed=

# check NAME COMMAND…: runs it and remembers its failure.
check() {
  name=$1
  shift
  if "$@"; then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    failed="$failed $name"
  fi
}

sources() { git ls-files -z --cached --others --exclude-standard -- "$@"; }

# Programs without an extension (.ci/run) are named, the rest are found.
scripts() { sources '*.sh' .ci/run; }

format() { sources '*.cc' '*.h' | xargs -0 -r clang-format --dry-run -Werror; }
shell() { scripts | xargs -0 -r shellcheck; }
completions() {
  for file in completions/*.bash; do
    [ -e "$file" ] || continue
    bash -n "$file" && shellcheck -s bash "$file" || return 1
  done
}
man_pages() {
  for page in man/*; do
    [ -e "$page" ] || continue
    mandoc -T lint -W warning "$page" || return 1
  done
}
leftovers() {
  # Written so that this line does not find itself.
  ! sources '*.cc' '*.h' '*.sh' '*.cmake' CMakeLists.txt |
    xargs -0 grep -nE '\b(TO''DO|FIX''ME|XX''X)\b' --
}
# A skip that REQUIRE_TESTS cannot turn into a failure.
silent_skips() {
  ! sources '*.cc' '*.h' | grep -zv '^tests/support/requirements' | xargs -0 grep -n 'GTEST_''SKIP' --
}
long_files() {
  sources '*.cc' '*.h' | xargs -0 wc -l | awk '$2 != "total" && $1 > 600 { print; bad = 1 } END { exit bad }'
}
tidy() {
  cmake --preset dev --log-level=NOTICE > /dev/null && scripts/tidy.sh build/dev
}

check format format
check shellcheck shell
check include_rules sh tests/include_rules.sh
check leftovers leftovers
check silent_skips silent_skips
check file_length long_files
check completions completions
check man_pages man_pages
[ -n "$quick" ] || check clang_tidy tidy

if [ -n "$failed" ]; then
  echo "lint: failed:$failed" >&2
  exit 1
fi
