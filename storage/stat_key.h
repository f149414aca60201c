#pragma once

#include <string>

namespace storage {

// Names a file's content without reading it: a SHA-256 over path, device, inode, size, mtime and
// ctime, hexadecimal. A changed file has another key (a write within one clock tick of the kernel
// that keeps the size aside). Throws base::Error when there is no such file.
std::string stat_key(const std::string& path);

}  // namespace storage
