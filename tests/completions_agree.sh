#!/bin/bash
# Compares what `fcvm completions zsh` and `fish` offer with what each command says of itself, and has the
# shells that are installed read the scripts.
# usage: completions_agree.sh FCVM
set -euo pipefail
export LC_ALL=C

fcvm=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
problems=0

problem() {
  echo "$1"
  problems=$((problems + 1))
}

for shell in zsh fish; do
  "$fcvm" completions "$shell" > "$work/$shell"
  if command -v "$shell" > /dev/null; then
    "$shell" -n "$work/$shell" || problem "$shell does not take its script"
  fi
done

commands=$("$fcvm" --help | awk '
  /^Commands:/ { in_list = 1; next }
  in_list && /^ *$/ { exit }
  in_list { sub(/^ +/, ""); sub(/  .*/, ""); print }')
[ -n "$commands" ] || problem "fcvm --help lists no commands"

checked=0
while read -r command; do
  read -ra words <<< "$command"
  options=$("$fcvm" "${words[@]}" --help |
    awk '/^ *-/ { for (i = 1; i <= NF && $i ~ /^-/; i++) { sub(/,$/, "", $i); print $i } }' | sort -u)
  [ -n "$options" ] || problem "fcvm $command --help names no option"
  # zsh: one line a command, an entry 'OPTION:TEXT' each.
  line=$(grep -F "      '$command') entries=(" "$work/zsh") || problem "zsh: no command $command"
  offered=$(grep -oE "(^| )'--?[a-z0-9-]+:" <<< "$line" | tr -d " ':" | sort -u)
  [ "$options" = "$offered" ] || problem "zsh: options of $command: ${offered//$'\n'/ }"
  # fish: one line an option.
  offered=$(grep -F -- "__fcvm_at \\'$command\\''" "$work/fish" |
    awk '{ for (i = 1; i < NF; i++) {
             if ($i == "-l") print "--" $(i + 1)
             if ($i == "-s") print "-" $(i + 1)
             if ($i == "-d") break } }' | sort -u)
  [ "$options" = "$offered" ] || problem "fish: options of $command: ${offered//$'\n'/ }"
  checked=$((checked + 1))
done <<< "$commands"

if [ "$problems" -gt 0 ]; then
  echo "$problems disagreement(s) between --help and the completions"
  exit 1
fi
echo "$checked commands: --help and the completions of zsh and fish agree"
