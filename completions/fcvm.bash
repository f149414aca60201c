# bash completion for fcvm. The test docs_agree compares its options with those of --help.

_fcvm_vms() {
  # Names of VMs: "all" for every one, anything else for those that run.
  local flag=
  [[ $1 == all ]] && flag=-a
  # The first column below the heading.
  "${COMP_WORDS[0]}" ls $flag 2> /dev/null | while read -r name _; do
    [[ $name == NAME ]] || printf '%s\n' "$name"
  done
}

_fcvm_images() {
  "${COMP_WORDS[0]}" image ls --format '{{.Repository}}:{{.Tag}}' 2> /dev/null | grep -v '<none>'
}

_fcvm_options() {
  case $1 in
    '') echo '--config --data-dir -h --help --log-format --log-level -v --version' ;;
    completions | 'healthcheck run' | rename) echo '-h --help' ;;
    attach) echo '--detach-keys -h --help --no-stdin --sig-proxy' ;;
    cp) echo '-a --archive -h --help --overwrite' ;;
    exec)
      echo '-d --detach --detach-keys -e --env --env-file -h --help -i --interactive --privileged
        -t --tty -u --user --vm -w --workdir'
      ;;
    'image load') echo '-h --help -i --input -q --quiet' ;;
    'image ls')
      echo '-a --all --format -h --help --json --no-trunc -n --noheading -q --quiet'
      ;;
    'image prune') echo '-a --all -f --force -h --help' ;;
    'image pull')
      echo '--arch --authfile --creds -h --help --os --platform -q --quiet --tls-verify --variant'
      ;;
    'image rm') echo '-a --all -f --force -h --help -i --ignore' ;;
    inspect) echo '-f --format -h --help --json' ;;
    kill) echo '-a --all -h --help -s --signal' ;;
    logs) echo '-f --follow -h --help -n --names --since --tail -t --timestamps --until' ;;
    ls) echo '-a --all -f --filter --format -h --help --json --no-trunc --noheading -q --quiet' ;;
    pause | unpause) echo '-a --all -h --help' ;;
    port) echo '-a --all -h --help' ;;
    stats)
      echo '-a --all --format -h --help -i --interval --json --no-reset --no-stream --no-trunc'
      ;;
    top) echo '-h --help' ;;
    'podman create' | 'podman run')
      echo '--accel --add-host --arch --authfile --balloon --cap-add --cap-drop --cidfile --cpus --cpuset-cpus --creds -d --detach
        --detach-keys --disk --dns --dns-search --engine --entrypoint -e --env --env-file
        --health-cmd --health-interval --health-retries --health-start-period --health-timeout --health-url
        -h --help --hostname --hypervisor --init -i
        --interactive --kernel --kernel-args -l --label --log-driver --log-opt -v --map --map-uid -m --memory
        --name --network --network-allow --no-healthcheck --os --platform --privileged -p --publish --pull --read-only --restart --rm
        --rootfs-size --rootless-backend --snapshot --stop-signal --stop-timeout --timings --tls-verify --tmpfs -t
        --tty --ulimit -u --user --variant -w --workdir'
      ;;
    restart) echo '-a --all -h --help --running -t --time' ;;
    rm) echo '-a --all -f --force -h --help -i --ignore -t --time' ;;
    setup) echo '--base-packages --force -h --help --kernel --size' ;;
    'snapshot create') echo '-h --help --tag' ;;
    'snapshot inspect' | 'snapshot rm') echo '-h --help' ;;
    'snapshot ls') echo '-h --help --json -q --quiet' ;;
    'snapshot run') echo '-d --detach --exec -h --help --name --rm --snapshot' ;;
    start) echo '-a --all --attach --detach-keys -h --help -i --interactive' ;;
    stop) echo '-a --all -h --help -i --ignore -t --time' ;;
    'system df') echo '--format -h --help --json' ;;
    'system prune') echo '-f --force -h --help' ;;
    doctor | 'system reconcile' | version) echo '-h --help --json' ;;
    wait) echo '--condition -h --help' ;;
  esac
}

# What may stand behind an option; fails for one that takes no value.
_fcvm_values() {
  case $1 in
    --accel) echo 'auto kvm tcg' ;;
    --condition) echo 'created running paused exited stopped healthy unhealthy' ;;
    --engine) echo 'podman crun' ;;
    --hypervisor) echo 'auto qemu' ;;
    --log-driver) echo 'k8s-file' ;;
    --log-format) echo 'text json' ;;
    --log-level) echo 'trace debug info warn error off' ;;
    --network) echo 'none' ;;
    --pull) echo 'missing always never newer' ;;
    --restart) echo 'no on-failure always unless-stopped' ;;
    --snapshot) echo 'off' ;;
    -s | --signal | --stop-signal) echo 'HUP INT QUIT KILL USR1 USR2 TERM CONT STOP' ;;
    --authfile | --cidfile | --config | --env-file | --input | --kernel) echo '@files' ;;
    --data-dir) echo '@folders' ;;
    --arch) echo 'amd64 arm64' ;;
    --platform) echo 'linux/amd64 linux/arm64' ;;
    --exec | --tag | --add-host | --balloon | --base-packages | --cap-add | --cap-drop | --cpus | --cpuset-cpus | --creds | \
      --detach-keys | --disk | --dns | --dns-search | --entrypoint | -e | --env | --filter | --format | \
      --health-cmd | --health-interval | --health-retries | --health-start-period | \
      --health-timeout | --health-url | --hostname | --interval | --kernel-args | -l | --label | --log-opt | \
      --map | --map-uid | -m | --memory | --name | --network-allow | --os | -p | --publish | \
      --rootfs-size | --rootless-backend | --since | --size | --stop-timeout | --tail | --time | \
      --tmpfs | --ulimit | --until | -u | --user | --variant | -w | --workdir) echo '' ;;
    *) return 1 ;;
  esac
}

# True when the letter takes a value with this command only.
_fcvm_takes_value() {
  case "$1 $2" in
    'image load -i' | 'inspect -f' | 'ls -f' | 'podman create -v' | 'podman run -v' | 'restart -t' | 'stats -i' | 'rm -t' | 'stop -t') return 0 ;;
  esac
  _fcvm_values "$2" > /dev/null
}

_fcvm() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=''
  ((COMP_CWORD < 1)) || previous=${COMP_WORDS[COMP_CWORD - 1]}
  local command='' arguments=0 i word values
  COMPREPLY=()
  # bash cuts "--name=value" into three words.
  if [[ $current == = ]]; then
    current=''
  elif [[ $previous == = ]] && ((COMP_CWORD > 1)); then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  fi

  # The command, and how many arguments stand before the word under the cursor.
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $word == -* ]]; then
      if [[ ${COMP_WORDS[i + 1]} == = ]]; then
        ((i += 2))
      elif _fcvm_takes_value "$command" "$word"; then
        ((i++))
      fi
    elif [[ -z $command ]]; then
      command=$word
      [[ $command != ps ]] || command='ls'
    elif [[ $command == healthcheck || $command == image || $command == podman || $command == snapshot || $command == system ]]; then
      command="$command $word"
    else
      ((arguments++))
    fi
  done

  if [[ $previous == -* ]] && _fcvm_takes_value "$command" "$previous"; then
    values=$(_fcvm_values "$previous")
    case $values in
      @files) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
      @folders) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
      *) mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current") ;;
    esac
    return
  fi
  if [[ $command == cp ]]; then
    mapfile -t COMPREPLY < <(compgen -S : -W "$(_fcvm_vms running)" -- "$current"; compgen -f -- "$current")
    [[ $current != -* ]] || mapfile -t COMPREPLY < <(compgen -W "$(_fcvm_options cp)" -- "$current")
    return
  fi
  # Behind the first argument everything is the container's.
  if ((arguments > 0)) && [[ $command == exec || $command == 'podman '* ]]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current")
    return
  fi
  if [[ $current == -* ]]; then
    mapfile -t COMPREPLY < <(compgen -W "$(_fcvm_options "$command")" -- "$current")
    return
  fi
  case $command in
    '')
      values='attach completions cp doctor exec healthcheck image inspect kill logs ls pause podman port
        rename restart rm setup snapshot start stats stop system top unpause version wait'
      ;;
    healthcheck) values=run ;;
    snapshot) values='create inspect ls rm run' ;;
    'snapshot create') values=$(_fcvm_vms running) ;;
    'snapshot inspect' | 'snapshot rm') values=$("${COMP_WORDS[0]}" snapshot ls -q 2> /dev/null) ;;
    system) values='df prune reconcile' ;;
    image) values='load ls prune pull rm' ;;
    podman) values='create run' ;;
    'podman create' | 'podman run')
      values="$(_fcvm_images) docker-archive: oci: oci-archive: containers-storage: docker-daemon: dir:"
      ;;
    'image ls' | 'image pull' | 'image rm') values=$(_fcvm_images) ;;
    completions) values='bash zsh fish' ;;
    attach | exec | 'healthcheck run' | kill | pause | stats | stop | top | unpause) values=$(_fcvm_vms running) ;;
    inspect | logs | port | rename | restart | rm | start | wait) values=$(_fcvm_vms all) ;;
    *) values= ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$values" -- "$current")
}

complete -F _fcvm fcvm
