#!/bin/bash
# Proves that docs_agree.sh accepts a program whose help, pages and completions agree and fails when any
# one of them is missing an option or a command.
set -euo pipefail

checker=$(cd "$(dirname "$0")" && pwd)/docs_agree.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
failures=0

good_tree() {
  rm -rf "$work/man" "$work/completions"
  mkdir -p "$work/man" "$work/completions"
  cat > "$work/fcvm" <<'PROGRAM'
#!/bin/sh
case "$*" in
  --help) printf 'usage: fcvm COMMAND\n\nCommands:\n  podman run IMAGE [CMD]  runs\n  ls    lists\n\nOptions:\n  --help  this\n' ;;
  "podman run --help") printf 'Options:\n  -t [ --tty ]  a terminal, not --bogus\n  --name NAME   name\n  --help        this\n' ;;
  "ls --help") printf 'Options:\n  -a, --all  all\n  --help  this\n' ;;
  *) exit 125 ;;
esac
PROGRAM
  chmod +x "$work/fcvm"
  local head='.Dd January 1, 2026\n.Dt X 1\n.Os\n.Sh OPTIONS\n.Bl -tag -width Ds\n'
  # shellcheck disable=SC2059 # the format is the page
  {
    printf "$head.It Fl -help\nthis\n.El\n" > "$work/man/fcvm.1"
    printf "$head.It Fl t , Fl -tty\na terminal\n.It Fl -name Ar NAME\nname\n.It Fl -help\nthis\n.El\n" \
      > "$work/man/fcvm-podman-run.1"
    printf "$head.It Fl a , Fl -all\nall\n.It Fl -help\nthis\n.El\n" > "$work/man/fcvm-ls.1"
  }
  cat > "$work/completions/fcvm.bash" <<'COMPLETION'
_fcvm() {
  local words
  case "${COMP_WORDS[*]:1:COMP_CWORD-1}" in
    "") words="podman ls --help" ;;
    podman) words="run" ;;
    "podman run") words="-t --tty --name --help" ;;
    ls) words="-a --all --help" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}")
}
complete -F _fcvm fcvm
COMPLETION
}

expect() {
  local status=0 output
  output=$(bash "$checker" "$work/fcvm" "$work" 2>&1) || status=$?
  if [ "$status" != "$1" ] || [[ $output != *"$2"* ]]; then
    echo "FAILED $3: status $status (expected $1), output lacks '$2': $output"
    failures=$((failures + 1))
  else
    echo "ok $3"
  fi
}

good_tree
expect 0 "2 commands: --help, man pages and completions agree" "agreement is accepted"

good_tree
sed -i '/name/Id' "$work/man/fcvm-podman-run.1"
expect 1 "fcvm podman run: in --help but not in man/fcvm-podman-run.1: --name" \
  "option missing from a page is reported"

good_tree
sed -i 's/-a --all/-a/' "$work/completions/fcvm.bash"
expect 1 "fcvm ls: in --help but not in completions/fcvm.bash: --all" \
  "option missing from the completion is reported"

good_tree
sed -i 's/-a, --all  all/-a  all/' "$work/fcvm"
expect 1 "in man/fcvm-ls.1 but not in --help: --all" "option missing from the help is reported"

good_tree
rm "$work/man/fcvm-ls.1"
expect 1 "commands: in fcvm --help but not in man/: ls" "missing page is reported"

good_tree
sed -i 's/words="podman ls --help"/words="podman --help"/' "$work/completions/fcvm.bash"
expect 1 "commands: in fcvm --help but not in completions/fcvm.bash: ls" \
  "command missing from the completion is reported"

[ "$failures" -eq 0 ] || { echo "$failures check(s) failed"; exit 1; }
