#!/bin/sh
# A real service in a microVM of its own: nginx from the distribution's packages, packed as an OCI
# archive with no registry, run by fcvm, spoken to through fcvm exec.
# usage: demo.sh BIN-DIRECTORY      data in $FCVM_DATA_DIR (default: build/data)
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:?usage: demo.sh BIN-DIRECTORY}
bin=$(cd "$bin" && pwd)
fcvm=$bin/fcvm
FCVM_DATA_DIR=${FCVM_DATA_DIR:-$top/build/data}
export FCVM_DATA_DIR
images=${FCVM_TEST_IMAGES_DIR:-$top/build/images}
vm=demo-web
work=$(mktemp -d)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
  bold=$(printf '\033[1m')
  plain=$(printf '\033[0m')
else
  bold=
  plain=
fi

clean_up() {
  status=$?
  trap - EXIT INT TERM
  if [ -e "$work/started" ]; then
    "$fcvm" rm -f "$vm" > /dev/null 2>&1 || true
  fi
  # Another VM may be using the data directory: then it stays mounted.
  "$top/scripts/unmount-data.sh" "$FCVM_DATA_DIR" 2> /dev/null || true
  if [ "$status" -ne 0 ]; then
    cat "$work/timings" >&2 2> /dev/null || true
    echo "demo: failed" >&2
  fi
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# timed WHAT COMMAND…: shows the command, runs it, notes how long it took.
timed() {
  what=$1
  shift
  shown=$(printf '%s ' "$@" | sed "s|$bin/||g; s|$top/||g")
  printf '\n%s$ %s%s\n' "$bold" "$shown" "$plain"
  begin=$(now_ms)
  "$@"
  printf '%s|%s\n' "$what" "$(($(now_ms) - begin))" >> "$work/times"
}

timed "make the nginx image" "$top/scripts/make-test-images.sh" "$images"
timed "fcvm setup" "$fcvm" setup

"$fcvm" rm -f "$vm" > /dev/null 2>&1 || true
touch "$work/started"
timed "start to a running container" \
  "$fcvm" podman run -d --name "$vm" --network none --timings "oci-archive:$images/nginx.oci.tar" \
  2> "$work/timings"

printf '\n%s$ fcvm exec %s wget -qO- http://127.0.0.1/%s\n' "$bold" "$vm" "$plain"
begin=$(now_ms)
attempt=1
# nginx listens a moment after its process was started.
until "$fcvm" exec "$vm" wget -qO- http://127.0.0.1/ > "$work/page" 2> "$work/wget.err"; do
  if [ "$attempt" -ge 20 ]; then
    cat "$work/wget.err" >&2
    echo "demo: nginx did not answer" >&2
    exit 1
  fi
  attempt=$((attempt + 1))
done
printf '%s|%s\n' "until nginx answered" "$(($(now_ms) - begin))" >> "$work/times"
cat "$work/page"
grep -q 'nginx in a microVM of its own' "$work/page"

timed "exec: another request" "$fcvm" exec "$vm" wget -qO- http://127.0.0.1/healthz
timed "exec: kernel of the guest" "$fcvm" exec "$vm" uname -sr
timed "ls" "$fcvm" ls
timed "logs" "$fcvm" logs "$vm"
timed "stop" "$fcvm" stop "$vm"
timed "rm" "$fcvm" rm "$vm"
rm "$work/started"

printf '\n%sWhat took how long%s (this host: %s, kernel %s)\n' "$bold" "$plain" \
  "$(nproc) CPUs" "$(uname -r)"
awk -F '|' '{ printf "  %-32s %8.2f s\n", $1, $2 / 1000 }' "$work/times"
if [ -s "$work/timings" ]; then
  printf '\n%sThe start of the container, from --timings%s\n' "$bold" "$plain"
  sed 's/^/  /' "$work/timings"
fi
