// Container images that only one test has, made without any image tool.
#pragma once

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace tests {

// Writes an OCI layout (image-spec 1.0, image-layout.md) into `directory`: the busybox of this
// machine as /bin/sh, /etc/seed that belongs to kSeedOwner, and a file of `filler_bytes` that do not compress. `seed` makes its digest one
// nobody else has. Returns a reference, "oci:DIRECTORY:latest". Throws std::runtime_error when the
// machine has no busybox or tar, and for who is not root. `healthcheck` is docker's addition to the
// configuration, as JSON.
inline constexpr unsigned kSeedOwner = 1000;
inline constexpr unsigned kSeedGroup = 50;
std::string make_test_image(const std::filesystem::path& directory, const std::string& seed,
                            std::size_t filler_bytes = 0, const std::string& healthcheck = "null");

// The same as a list of images, one for each of the architectures ("amd64"); all of them hold this
// machine's busybox, and the seed with the architecture behind it.
std::string make_multi_platform_image(const std::filesystem::path& directory,
                                      const std::string& seed,
                                      const std::vector<std::string>& architectures);

// Removes image disks that were made while it lived, for their images are nobody else's.
class ImageDisksRestored {
 public:
  ImageDisksRestored();
  ImageDisksRestored(const ImageDisksRestored&) = delete;
  ImageDisksRestored& operator=(const ImageDisksRestored&) = delete;
  ~ImageDisksRestored();

  // How many of them there are now.
  std::size_t count() const;

 private:
  std::set<std::string> before_;
};

}  // namespace tests
