// Copies of large files that cost no space where the file system can share extents.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace storage {

enum class CopyMethod {
  kReflink,     // FICLONE, ioctl_ficlonerange(2)
  kSparseCopy,  // data extents only, by SEEK_DATA and copy_file_range(2)
};

// Makes `destination` (which must not exist) a copy of the regular file `source`; holes stay holes.
// On failure (disk full, say) nothing is left at `destination`. Throws base::Error.
CopyMethod reflink_or_copy(const std::string& source, const std::string& destination,
                           mode_t mode = 0600);

// The same between open files; `destination` must be empty and writable.
CopyMethod reflink_or_copy(const base::Fd& source, const base::Fd& destination);

// True when FICLONE works between files in `directory`. Found out by doing it: names and numbers of
// file systems say nothing about an XFS made without reflinks.
bool supports_reflink(const std::string& directory);

// The bytes a file occupies by who else has a share in them, as far as the file system tells
// (FIEMAP, FIEMAP_EXTENT_SHARED); where it does not, none are shared.
struct SharedBytes {
  std::uint64_t shared = 0;
  std::uint64_t exclusive = 0;
};
SharedBytes shared_bytes(const std::string& path);

// Bytes a file occupies, not its length.
std::uint64_t allocated_bytes(const std::string& path);

}  // namespace storage
