#!/bin/bash
# Compares what a command says of itself in three places: `fcvm COMMAND --help`, the page
# man/fcvm-COMMAND.1 and completions/fcvm.bash. Commands and their options must be the same in all.
# usage: docs_agree.sh FCVM TREE
set -euo pipefail
export LC_ALL=C

fcvm=$1
tree=$2
problems=0

problem() {
  echo "$1"
  problems=$((problems + 1))
}

# options_of_help COMMAND…: the option names the help prints, one a line, sorted. Options stand at the
# beginning of a line: "  -t [ --tty ]  …", "  -t, --tty  …" or "  --name NAME  …".
options_of_help() {
  "$fcvm" "$@" --help | list_options
}

# options_of_page PAGE: the same from a man page as it is shown.
options_of_page() {
  mandoc -T ascii "$1" | sed 's/.\x08//g' | list_options
}

list_options() {
  awk '
    /^ *-/ {
      # The head of the line holds names and argument words only; two spaces end it.
      sub(/^ +/, "")
      head = $0
      sub(/  .*/, "", head)
      gsub(/[][,=|]/, " ", head)
      n = split(head, word, " ")
      for (i = 1; i <= n; i++)
        if (word[i] ~ /^(-[a-zA-Z0-9]|--[a-z][a-z0-9-]*)$/) print word[i]
    }' | sort -u
}

# complete WORD…: what the completion offers for the last of the words.
complete() {
  bash -c '
    source "$1"
    shift
    COMP_WORDS=(fcvm "$@")
    COMP_CWORD=$(($# ))
    COMP_LINE="fcvm $*"
    COMP_POINT=${#COMP_LINE}
    COMPREPLY=()
    function_name=$(complete -p fcvm | sed "s/.*-F \([^ ]*\).*/\1/")
    "$function_name" fcvm "${!#}" "${COMP_WORDS[COMP_CWORD-1]}" || true
    ((${#COMPREPLY[@]} == 0)) || printf "%s\n" "${COMPREPLY[@]}"
  ' complete "$tree/completions/fcvm.bash" "$@" | sed 's/[ =]*$//' | sort -u
}

# compare WHAT A-NAME A-LIST B-NAME B-LIST
compare() {
  local only
  only=$(comm -23 <(printf '%s\n' "$3") <(printf '%s\n' "$5") | grep . | tr '\n' ' ') || true
  [ -z "$only" ] || problem "$1: in $2 but not in $4: $only"
  only=$(comm -13 <(printf '%s\n' "$3") <(printf '%s\n' "$5") | grep . | tr '\n' ' ') || true
  [ -z "$only" ] || problem "$1: in $4 but not in $2: $only"
}

# The commands `fcvm --help` lists: the first words of the lines below "Commands:" up to the description.
commands=$("$fcvm" --help | awk '
  /^[Cc]ommands:/ { in_list = 1; next }
  in_list && /^ *$/ { next }
  in_list && !/^ / { in_list = 0 }
  in_list {
    sub(/^ +/, "")
    head = $0
    sub(/  .*/, "", head)
    # "podman run IMAGE [CMD]": command words are in small letters.
    n = split(head, word, " ")
    name = ""
    for (i = 1; i <= n && word[i] ~ /^[a-z][a-z-]*$/; i++) name = name (i > 1 ? " " : "") word[i]
    if (name != "") print name
  }' | sort -u)
if [ -z "$commands" ]; then
  problem "fcvm --help: no list below a line 'Commands:'"
fi

pages=$(find "$tree/man" -name 'fcvm-*.1' -printf '%f\n' | sed 's/^fcvm-//; s/\.1$//' | sort -u)
compare "commands" "fcvm --help" "$(tr ' ' '-' <<< "$commands" | sort -u)" "man/" "$pages"

completed=$(complete "" | grep -v '^-' || true)
compare "commands" "fcvm --help" "$(awk '{ print $1 }' <<< "$commands" | sort -u)" \
  "completions/fcvm.bash" "$completed"

global=$(options_of_help)
compare "fcvm" "fcvm --help" "$global" "man/fcvm.1" "$(options_of_page "$tree/man/fcvm.1")"
compare "fcvm" "fcvm --help" "$global" "completions/fcvm.bash" "$(complete - | grep '^-' || true)"

checked=0
while read -r command; do
  [ -n "$command" ] || continue
  read -ra words <<< "$command"
  page=$tree/man/fcvm-${command// /-}.1
  [ -f "$page" ] || continue
  if ! help=$(options_of_help "${words[@]}"); then
    problem "fcvm $command --help fails"
    continue
  fi
  compare "fcvm $command" "--help" "$help" "man/${page##*/}" "$(options_of_page "$page")"
  compare "fcvm $command" "--help" "$help" "completions/fcvm.bash" \
    "$(complete "${words[@]}" - | grep '^-' || true)"
  checked=$((checked + 1))
done <<< "$commands"

if [ "$problems" -gt 0 ]; then
  echo "$problems disagreement(s) between --help, man pages and completions"
  exit 1
fi
echo "$checked commands: --help, man pages and completions agree"
