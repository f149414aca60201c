#!/bin/sh
# Many VMs: COUNT one after another, then PARALLEL at once, and nothing may be left.
# usage: soak.sh BIN-DIRECTORY
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:?usage: soak.sh BIN-DIRECTORY}
export FCVM_DATA_DIR="${FCVM_DATA_DIR:-$top/build/data}"
image=oci-archive:${FCVM_TEST_IMAGES_DIR:-$top/build/images}/busybox.oci.tar
count=${COUNT:-30}
parallel=${PARALLEL:-6}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# Prints what a VM leaves behind when something goes wrong.
inventory() {
  (
    cd "$FCVM_DATA_DIR"
    find run state vm-disks 2> /dev/null || true
    awk -v top="$FCVM_DATA_DIR/" 'index($5, top) { print "mount", $5 }' /proc/self/mountinfo
    for process in /proc/[0-9]*/cmdline; do
      tr '\0' ' ' 2> /dev/null < "$process" | grep -E '^[^ ]*(fcvm-monitor|qemu-system)[^ ]* ' |
        grep -F "$FCVM_DATA_DIR" || true
    done
  ) | sort
}

# one NUMBER: runs one container and checks status and output.
one() {
  status=0
  timeout 120 "$bin/fcvm" podman run --rm --network none "$image" \
    sh -c "echo vm $1; exit $(($1 % 100 + 1))" > "$work/$1.out" 2> "$work/$1.err" < /dev/null ||
    status=$?
  if [ "$status" -ne $(($1 % 100 + 1)) ] || [ "$(cat "$work/$1.out")" != "vm $1" ]; then
    echo "soak: VM $1: status $status" >&2
    cat "$work/$1.out" "$work/$1.err" >&2
    return 1
  fi
}

inventory > "$work/before"
failures=0
number=0
while [ "$number" -lt "$count" ]; do
  number=$((number + 1))
  one "$number" || failures=$((failures + 1))
  printf '\rsoak: %d of %d one after another, %d failed' "$number" "$count" "$failures"
done
echo

jobs=
while [ "$number" -lt $((count + parallel)) ]; do
  number=$((number + 1))
  one "$number" &
  jobs="$jobs $!"
done
for job in $jobs; do
  wait "$job" || failures=$((failures + 1))
done
echo "soak: $parallel at once, $failures failed in all"

inventory > "$work/after"
if ! diff "$work/before" "$work/after"; then
  echo "soak: the lines above were left behind" >&2
  exit 1
fi
[ "$failures" -eq 0 ]
