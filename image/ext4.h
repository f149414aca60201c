#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace base {
class Cancellation;
}

namespace image {

struct Ext4Options {
  std::uint64_t bytes = 0;        // length of the file system; the file is sparse
  std::uint64_t inodes = 0;       // 0: mke2fs's own choice
  std::uint64_t journal_mib = 0;  // 0: no journal
  std::function<void()> tick;     // called a few times a second
  const base::Cancellation* cancellation = nullptr;
};

// Makes an ext4 file system in the (empty, existing) `file` out of what is in `directory`, with its
// owners, modes, extended attributes, links and device nodes. Throws base::Error: with ENOSPC when
// it does not fit into `bytes`, with a hint when mke2fs is missing.
void make_ext4(const std::string& directory, const std::string& file, const Ext4Options& options);

// What mke2fs needs to know of a tree, counted without following links.
struct TreeSize {
  std::uint64_t entries = 0;     // of every kind, the root among them
  std::uint64_t data_bytes = 0;  // of files, rounded up to blocks, and of directories
  std::uint64_t depth = 0;
};

// Counts what is in `directory`, where an ordinary user unpacked it: in the user namespace. Stops
// early, with what it has so far, when one of the limits is passed (so: larger than a limit means
// refused). Files that vanish meanwhile are not counted; throws base::Error for what cannot be read.
TreeSize measure_tree(const std::string& directory, std::uint64_t max_entries,
                      std::uint64_t max_bytes);

// Length of a file system without journal that holds a tree of this size with some room left.
std::uint64_t ext4_bytes_for(const TreeSize& tree);

}  // namespace image
