#!/bin/sh
# Fills the data directory of the tests with the real `fcvm setup` and makes the test images.
# usage: setup-assets.sh [--or-skip] BIN-DIRECTORY      uses $FCVM_DATA_DIR and $FCVM_TEST_IMAGES_DIR
# --or-skip: on a machine that cannot run the VM tests, says why and ends with 77, which ctest shows as
# skipped, unless REQUIRE_TESTS names vm.
set -eu

skip() {
  echo "assets: $1: the tests that need a VM will be skipped"
  exit 77
}

if [ "${1:-}" = "--or-skip" ]; then
  shift
  case ",${REQUIRE_TESTS:-}," in
    *,vm,*) ;;
    *)
      [ "$(id -u)" -eq 0 ] || skip "the user is not root"
      command -v qemu-system-x86_64 > /dev/null || skip "qemu-system-x86_64 is not installed"
      ;;
  esac
fi

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:?usage: setup-assets.sh [--or-skip] BIN-DIRECTORY}
FCVM_DATA_DIR=${FCVM_DATA_DIR:-$top/build/data}
FCVM_TEST_IMAGES_DIR=${FCVM_TEST_IMAGES_DIR:-$top/build/images}
export FCVM_DATA_DIR FCVM_TEST_IMAGES_DIR

"$bin/fcvm" setup
"$top/scripts/make-test-images.sh" "$FCVM_TEST_IMAGES_DIR"
