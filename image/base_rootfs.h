// The base root file system: what a VM's own disk starts as. It holds the engines (podman, crun) and
// the libraries they need; the container's files come from the image disk.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/packages.h"
#include "image/progress.h"
#include "storage/data_directory.h"

namespace image {

inline constexpr std::uint64_t kDefaultRootfsBytes = 10ULL << 30;

struct BaseRootfs {
  std::string path;  // a sparse ext4 file; reflink it, never write to it
  std::string key;   // names the packages and versions it was made of
};

struct BaseRootfsOptions {
  std::vector<std::string> extra_packages;
  bool force = false;  // ask the archive for newer packages even if one is there
  ProgressCallback progress;
  const base::Cancellation* cancellation = nullptr;
};

// Makes rootfs/base.ext4 (a link to rootfs/base-<key>.ext4). Does nothing when it is there and was
// asked for with the same packages, unless forced. Throws base::Error and base::Cancelled.
BaseRootfs ensure_base_rootfs(const storage::DataDirectory& data, PackageArchive& packages,
                              const BaseRootfsOptions& options);

// The base for a VM whose root disk is `bytes` long: the default one, or a resized copy of it that
// is made once per size. Throws base::Error, with the hint to run `fcvm setup` when there is no
// base, and when `bytes` is too small.
BaseRootfs base_rootfs_of_size(const storage::DataDirectory& data,
                               std::uint64_t bytes = kDefaultRootfsBytes);

}  // namespace image
