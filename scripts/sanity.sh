#!/bin/sh
# One VM, one container: both streams and the exit status must be exact.
# usage: sanity.sh BIN-DIRECTORY
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:?usage: sanity.sh BIN-DIRECTORY}
export FCVM_DATA_DIR="${FCVM_DATA_DIR:-$top/build/data}"
image=oci-archive:${FCVM_TEST_IMAGES_DIR:-$top/build/images}/busybox.oci.tar
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

status=0
timeout 60 "$bin/fcvm" podman run --rm --network none "$image" \
  sh -c 'echo out; echo err >&2; exit 37' > "$work/out" 2> "$work/err" < /dev/null || status=$?

failed=
[ "$status" -eq 37 ] || failed="status is $status, not 37"
[ "$(cat "$work/out")" = out ] || failed="$failed; stdout is not 'out'"
[ "$(cat "$work/err")" = err ] || failed="$failed; stderr is not 'err'"
if [ -n "$failed" ]; then
  echo "sanity: ${failed#; }" >&2
  sed 's/^/stdout: /' "$work/out" >&2
  sed 's/^/stderr: /' "$work/err" >&2
  exit 1
fi
echo "sanity: one container in one microVM: streams and exit status are exact"
