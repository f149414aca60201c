// Where tests find what they need. Every path is absolute. The environment wins over the build's
// own answer, so that a test binary may be run by hand against another data directory.
#pragma once

#include <filesystem>
#include <string>

namespace tests {

// The top of the source tree.
std::filesystem::path source_dir();

// Where fcvm, fcvm-monitor and fc-agent of this build are: $FCVM_TEST_BIN_DIR, else <build>/bin.
std::filesystem::path bin_dir();

// The data directory of the tests: $FCVM_DATA_DIR, else build/data in the source tree. The ctest
// fixture `assets` fills it.
std::filesystem::path data_dir();

// Container images of the tests, made by scripts/make-test-images.sh: $FCVM_TEST_IMAGES_DIR, else
// build/images in the source tree.
std::filesystem::path images_dir();

// A reference to the test image `name` that fcvm and podman both accept:
// "oci-archive:<images_dir>/<name>.oci.tar".
std::string image_reference(const std::string& name);

}  // namespace tests
