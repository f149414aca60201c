// Copies and digests of large files that are mostly empty: a guest's memory, a disk.
#pragma once

#include <cstdint>
#include <string>

#include "base/fd.h"

namespace storage {

// Makes `destination`, which must be empty, a copy of `source`: only its data extents are read
// (SEEK_DATA, lseek(2)), and pages of zeroes among them become holes. Returns the bytes written.
// `source` must not change meanwhile. Throws base::Error.
std::uint64_t copy_sparse(const base::Fd& source, const base::Fd& destination);

// A SHA-256 over the file's length and its data, by which two files are equal however their holes
// lie: blocks of zeroes do not count. Reads data extents only. Throws base::Error.
std::string content_digest(const base::Fd& file);

// What tells without reading whether a file was touched: inode, length, times of modification and
// change. Renaming the file's folder leaves it as it is; a copy has another.
std::string file_stamp(const base::Fd& file);

}  // namespace storage
