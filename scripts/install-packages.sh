#!/bin/sh
# Installs the packages fcvm is built, run and tested with, as far as they are missing.
# usage: install-packages.sh [build|run|test|lint|fuzz|all]…      default: all
# Without anything missing it runs no apt and needs neither root nor network.
set -eu

build_packages="g++ cmake ninja-build ccache make pkg-config git
  libgtest-dev libgmock-dev nlohmann-json3-dev libspdlog-dev libboost-program-options-dev
  libseccomp-dev libssl-dev liblz4-dev"
run_packages="qemu-system-x86 btrfs-progs e2fsprogs skopeo xz-utils ca-certificates"
test_packages="crun runc podman umoci busybox-static uidmap mandoc procps iproute2 util-linux
  docker-registry docker.io zsh fish bzip2 cpio zstd"
lint_packages="clang-format clang-tidy shellcheck mandoc"
fuzz_packages="clang libclang-rt-14-dev llvm-14"

wanted=
for group in "${@:-all}"; do
  case $group in
    build) wanted="$wanted $build_packages" ;;
    run) wanted="$wanted $run_packages" ;;
    test) wanted="$wanted $test_packages" ;;
    lint) wanted="$wanted $lint_packages" ;;
    fuzz) wanted="$wanted $build_packages $fuzz_packages" ;;
    all) wanted="$build_packages $run_packages $test_packages $lint_packages $fuzz_packages" ;;
    *)
      echo "install-packages: unknown group '$group'" >&2
      exit 2
      ;;
  esac
done

installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' | awk '$1 == "ii" { print $2 }')
missing=
for package in $wanted; do
  if ! printf '%s\n' "$installed" | grep -qxF "$package"; then
    case " $missing " in
      *" $package "*) ;;
      *) missing="$missing $package" ;;
    esac
  fi
done
if [ -z "$missing" ]; then
  echo "packages: all installed"
  exit 0
fi

as_root=
if [ "$(id -u)" -ne 0 ]; then
  if ! command -v sudo > /dev/null; then
    echo "install-packages: missing:$missing; install them as root" >&2
    exit 1
  fi
  as_root="sudo"
fi

echo "packages: installing$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT INT TERM

# quiet COMMAND…: runs it as root; shows its output only when it fails.
quiet() {
  if ! $as_root env DEBIAN_FRONTEND=noninteractive "$@" > "$log" 2>&1; then
    cat "$log" >&2
    echo "install-packages: '$*' failed" >&2
    return 1
  fi
}

# The lists of a fresh machine are empty or stale: only then is the index fetched.
# shellcheck disable=SC2086 # word splitting of the package list is meant
if ! quiet apt-get install -y --no-install-recommends $missing 2> /dev/null; then
  echo "packages: updating the package index"
  quiet apt-get update
  quiet apt-get install -y --no-install-recommends $missing
fi
echo "packages: done"
