#!/bin/sh
# Unmounts a data directory that `fcvm setup` mounted, if it is mounted. The image file stays.
# usage: unmount-data.sh DIRECTORY
set -eu

directory=${1:?usage: unmount-data.sh DIRECTORY}
[ -d "$directory" ] || exit 0
directory=$(cd "$directory" && pwd -P)

# Innermost first: run/ may be a mount of its own below the data directory.
awk -v top="$directory" '
  $5 == top || index($5, top "/") == 1 { where[++n] = $5 }
  END { while (n) print where[n--] }' /proc/self/mountinfo |
  while read -r mount; do
    umount "$mount"
  done
