#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace image {

// Reads one file of the root file system that overlay would make of `layers` (directories, top
// first), without mounting it: whiteouts and opaque directories count, symbolic links lead nowhere
// but into that root, and nothing but a regular file is opened.
//
// `path` is relative to the root. Empty when there is no such file, when it is another kind of file
// or when links to it form a ring. Throws base::Error when it is larger than `max_bytes` or cannot
// be read.
std::optional<std::string> read_merged_file(const std::vector<std::string>& layers,
                                            const std::string& path, std::size_t max_bytes);

}  // namespace image
