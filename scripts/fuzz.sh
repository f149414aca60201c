#!/bin/sh
# Runs every fuzz target of a build directory for some seconds, from its seed corpus.
# usage: fuzz.sh BUILD-DIRECTORY SECONDS
# What a run learns goes to <build>/fuzz/learnt/<target>; a crash to <build>/fuzz/crash-<target>-….
set -eu

build=${1:?usage: fuzz.sh BUILD-DIRECTORY SECONDS}
seconds=${2:?usage: fuzz.sh BUILD-DIRECTORY SECONDS}
list=$build/fuzz/list
if [ ! -s "$list" ]; then
  echo "fuzz: $list names no fuzz target" >&2
  exit 1
fi

failed=
count=0
while IFS='|' read -r name corpus; do
  count=$((count + 1))
  learnt=$build/fuzz/learnt/$name
  mkdir -p "$learnt"
  log=$build/fuzz/$name.log
  printf '%-28s %s s … ' "$name" "$seconds"
  # 4 MiB is above every limit the parsers set themselves; 25 s for one input is a hang.
  if "$build/fuzz/$name" -max_total_time="$seconds" -max_len=4194304 -timeout=25 \
    -rss_limit_mb=2048 -artifact_prefix="$build/fuzz/crash-$name-" -print_final_stats=1 \
    "$learnt" "$corpus" > "$log" 2>&1 < /dev/null; then
    awk '/stat::number_of_executed_units/ { runs = $2 }
         /cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
         END { print "clean, " runs " runs, coverage " cov }' "$log"
  else
    echo "FAILED"
    tail -n 40 "$log"
    failed="$failed $name"
  fi
done < "$list"

if [ -n "$failed" ]; then
  echo "fuzz: failed:$failed" >&2
  exit 1
fi
echo "fuzz: $count targets clean"
