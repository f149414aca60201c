// A file system in a sparse file, mounted through a loop device (loop(4)).
#pragma once

#include <cstdint>
#include <string>

namespace storage {

// Makes a sparse btrfs of `bytes` in `file`, whole or not at all. Throws base::Error with a hint
// when mkfs.btrfs is missing or less than 2 GiB are free.
void make_loop_file(const std::string& file, std::uint64_t bytes);

// Mounts `file` at `directory`. A loop device that has the file already is used again: two devices
// over one btrfs would destroy it. The device goes away with the last mount. The caller makes sure
// that nobody else does the same at the same time. Throws base::Error.
void mount_loop_file(const std::string& file, const std::string& directory);

// True when `directory` is a mount point.
bool is_mount_point(const std::string& directory);

}  // namespace storage
