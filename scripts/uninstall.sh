#!/bin/sh
# Removes what `make install` put below a prefix. usage: uninstall.sh PREFIX
set -eu

prefix=${1:?usage: uninstall.sh PREFIX}
rm -f "$prefix/bin/fcvm" "$prefix/share/bash-completion/completions/fcvm" \
  "$prefix"/share/man/man1/fcvm.1 "$prefix"/share/man/man1/fcvm-*.1
rm -rf "$prefix/libexec/fcvm"
