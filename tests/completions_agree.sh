#!/bin/bash
# Compares what `fcvm completions zsh` and `fish` offer with what each command says of itself. The shells
# that are installed read the scripts and complete the options of each command.
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

# complete SHELL: what the shell itself makes of its script: a line "COMMAND|OPTION" each, and "stop|VM".
complete() {
  local list
  mapfile -t list <<< "$commands"
  case $1 in
    zsh)
      # Without a terminal there is no completion system: what it would be told is printed.
      # shellcheck disable=SC2016 # it is zsh's to expand
      zsh -f -c '
        compdef() { :; }
        compadd() { print -rl -- "$named|"${^entries}; }
        _describe() { for entry in "${(@P)@[-1]}"; do print -r -- "$named|${entry%%:*}"; done; }
        source "$1"
        shift
        complete_at() {
          local named=$1
          local -a words=(fcvm ${=1} "$2")
          local CURRENT=$#words PREFIX=$2
          _fcvm
        }
        for command in "$@"; do complete_at "$command" -; done
        complete_at stop ""' zsh "$work/zsh" "${list[@]}"
      ;;
    fish)
      # shellcheck disable=SC2016 # it is fish's to expand
      HOME=$work fish --no-config -c '
        source $argv[1]
        for command in $argv[2..-1]
          complete -C "fcvm $command -" | string replace -r "^(-\S*).*" "$command|\$1"
        end
        complete -C "fcvm stop " | string replace -r "^" "stop|"' "$work/fish" "${list[@]}"
      ;;
  esac
}

# The scripts ask fcvm for the names of VMs.
mkdir "$work/bin"
cat > "$work/bin/fcvm" << 'END'
#!/bin/sh
[ "$1" = ls ] && echo some-vm
END
chmod +x "$work/bin/fcvm"
for shell in zsh fish; do
  if command -v "$shell" > /dev/null; then
    PATH=$work/bin:$PATH complete "$shell" | sort -u > "$work/$shell.offers" ||
      problem "$shell does not complete"
    grep -qx 'stop|some-vm' "$work/$shell.offers" || problem "$shell completes no names of VMs"
  fi
done

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
  for shell in zsh fish; do
    [ -e "$work/$shell.offers" ] || continue
    # fish adds up letters; what it offers of them is its own affair.
    offered=$(awk -F '|' -v command="$command" '$1 == command && $2 ~ /^--/ { print $2 }' \
      "$work/$shell.offers")
    [ "$(grep -e ^-- <<< "$options")" = "$offered" ] ||
      problem "$shell completes for $command: ${offered//$'\n'/ }"
  done
  checked=$((checked + 1))
done <<< "$commands"

if [ "$problems" -gt 0 ]; then
  echo "$problems disagreement(s) between --help and the completions"
  exit 1
fi
echo "$checked commands: --help and the completions of zsh and fish agree"
