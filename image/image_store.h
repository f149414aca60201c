// Image references to read-only image disks: one disk per image, shared by all its VMs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "image/image_meta.h"
#include "image/progress.h"
#include "image/reference.h"
#include "storage/data_directory.h"

namespace base {
class Cancellation;
}

namespace image {

// An ext4 file system without a journal that holds the unpacked layers; mount it "ro,noload".
struct ImageDisk {
  std::string digest;            // "sha256:<hex>", the image id
  std::string disk_path;         // <data>/images/<hex>/disk.ext4
  std::uint64_t disk_bytes = 0;  // space it occupies
  ImageMeta meta;
};

struct EnsureOptions {
  ProgressCallback progress;
  const base::Cancellation* cancellation = nullptr;
  // What an image may unpack to. Also limited by the free space, of which 1 GiB stays free.
  std::uint64_t max_unpacked_bytes = 64ULL << 30;
  std::uint64_t max_entries = 4'000'000;
};

// Any number of processes may use one store at once: a builder holds a lock per image, the others
// wait for it and share what it made. Not for use by several threads.
class ImageStore {
 public:
  explicit ImageStore(storage::DataDirectory data) : data_(std::move(data)) {}

  // The disk of `reference`, made when it is not there. A local archive that has not changed (path,
  // device, inode, size, mtime, ctime) costs no more than reading two small files. Throws
  // base::Error in the context "preparing image '…'", and base::Cancelled; leaves nothing behind
  // then.
  ImageDisk ensure(const Reference& reference, const EnsureOptions& options = {});
  ImageDisk ensure(std::string_view reference, const EnsureOptions& options = {});

  // All disks, by digest. A directory that is no image is skipped.
  std::vector<ImageDisk> list() const;

  // The disk with this digest ("sha256:<hex>"); throws base::Error when there is none.
  ImageDisk get(const std::string& digest) const;

 private:
  storage::DataDirectory data_;
};

}  // namespace image
