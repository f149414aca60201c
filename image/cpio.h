#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace image {

// Writes an archive in the "newc" format (linux/Documentation/driver-api/early-userspace/
// buffer-format.rst). The same calls make the same bytes: owner 0:0, time 0, inodes counted up.
class CpioWriter {
 public:
  void add_directory(std::string_view name, mode_t permissions = 0755);
  void add_file(std::string_view name, std::string_view content, mode_t permissions = 0644);
  void add_symlink(std::string_view name, std::string_view target);
  void add_character_device(std::string_view name, std::uint32_t major, std::uint32_t minor,
                            mode_t permissions = 0600);
  // The trailer, and zeros up to a multiple of 512 bytes. Call it once, last.
  std::string finish();

 private:
  void add(std::string_view name, mode_t mode, std::string_view content, std::uint32_t major,
           std::uint32_t minor);

  std::string out_;
  std::uint32_t inode_ = 0;
};

}  // namespace image
