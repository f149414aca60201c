#include "tests/support/paths.h"

#include <cstdlib>

namespace tests {
namespace {

std::filesystem::path from_environment_or(const char* variable, std::filesystem::path fallback) {
  const char* value = std::getenv(variable);
  if (value != nullptr && *value != '\0') {
    return std::filesystem::absolute(value);
  }
  return fallback;
}

}  // namespace

std::filesystem::path source_dir() {
  return FCVM_TEST_SOURCE_DIR;
}

std::filesystem::path bin_dir() {
  return from_environment_or("FCVM_TEST_BIN_DIR",
                             std::filesystem::path(FCVM_TEST_BUILD_DIR) / "bin");
}

std::filesystem::path data_dir() {
  return from_environment_or("FCVM_DATA_DIR", source_dir() / "build" / "data");
}

std::filesystem::path images_dir() {
  return from_environment_or("FCVM_TEST_IMAGES_DIR", source_dir() / "build" / "images");
}

std::string image_reference(const std::string& name) {
  return "oci-archive:" + (images_dir() / (name + ".oci.tar")).string();
}

}  // namespace tests
