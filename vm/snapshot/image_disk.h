#pragma once

#include <string>

namespace vm {

// Of the first 64 KiB, where an ext4 file system keeps its UUID and the time it was made: a disk that
// was made again is another one. Throws base::Error when there is none.
std::string image_disk_digest(const std::string& path);

}  // namespace vm
