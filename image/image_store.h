// Image references to read-only image disks: one disk per image, shared by all its VMs.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/files.h"
#include "image/image_meta.h"
#include "image/progress.h"
#include "image/reference.h"
#include "image/source.h"
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
  // Complete names ("docker.io/library/busybox:latest") that mean it, sorted. Of ensure(): the one
  // it was found by, if any.
  std::vector<std::string> names;
  // Of ensure(): as long as it lives nobody removes the disk.
  std::shared_ptr<const base::FileLock> in_use;
};

struct EnsureOptions {
  PullPolicy pull = PullPolicy::kMissing;
  Platform platform;
  RegistryAccess access;
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

  const storage::DataDirectory& data() const { return data_; }

  // The disk of `reference`, made when it is not there. A local archive that has not changed (path,
  // device, inode, size, mtime, ctime) costs no more than reading two small files; so does an image
  // of a registry that is here under its name, or whose id is given. Names are remembered. Throws
  // base::Error in the context "preparing image '…'", and base::Cancelled; leaves nothing behind
  // then.
  ImageDisk ensure(const Reference& reference, const EnsureOptions& options = {});
  ImageDisk ensure(std::string_view reference, const EnsureOptions& options = {});

  // All disks with their names, by digest. A directory that is no image is skipped.
  std::vector<ImageDisk> list() const;

  // The disk with this digest ("sha256:<hex>"); throws base::Error when there is none.
  ImageDisk get(const std::string& digest) const;

  // What `text` means among the images that are here.
  struct Found {
    ImageDisk disk;    // with all its names
    std::string name;  // the name that was meant; empty when it was an id
  };
  // By name, short or complete, or by (the beginning of) its id. Empty when there is none; throws
  // base::Error for the beginning of several ids.
  std::optional<Found> find(std::string_view text) const;

  // Gives the image a name, which is taken from another image that had it.
  void tag(const std::string& digest, const std::string& name) const;
  // Takes a name away. The image stays.
  void untag(const std::string& name) const;
  // Removes an image with its names; returns the bytes that became free. Waits a moment for commands
  // that are about to use it; throws base::Error when they go on using it. `used` is asked once
  // nobody can begin to use it any more: the image stays, and nothing is returned, when it says yes.
  std::optional<std::uint64_t> remove(const std::string& digest,
                                      const std::function<bool()>& used = {}) const;
  // Removes what builders and removers that were killed have left. Cheap when there is nothing.
  void sweep() const;
  // Forgets names whose image is gone.
  void sweep_names() const;

 private:
  ImageDisk ensure_local(const Reference& reference, const EnsureOptions& options);
  ImageDisk ensure_from_registry(const Reference& reference, const EnsureOptions& options);
  ImageDisk build(const Reference& reference, const EnsureOptions& options);
  ImageDisk keep(ImageDisk disk, const Reference& reference) const;

  storage::DataDirectory data_;
};

}  // namespace image
