#!/bin/sh
# Fills the data directory of the tests with the real `fcvm setup` and makes the test images.
# usage: setup-assets.sh BIN-DIRECTORY      uses $FCVM_DATA_DIR and $FCVM_TEST_IMAGES_DIR
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
bin=${1:?usage: setup-assets.sh BIN-DIRECTORY}
FCVM_DATA_DIR=${FCVM_DATA_DIR:-$top/build/data}
FCVM_TEST_IMAGES_DIR=${FCVM_TEST_IMAGES_DIR:-$top/build/images}
export FCVM_DATA_DIR FCVM_TEST_IMAGES_DIR

"$bin/fcvm" setup
"$top/scripts/make-test-images.sh" "$FCVM_TEST_IMAGES_DIR"
