#include "vm/disk_usage.h"

#include <sys/stat.h>

#include <filesystem>
#include <system_error>

#include "image/image_store.h"
#include "vm/image_use.h"

namespace vm {
namespace {

namespace fs = std::filesystem;

std::uint64_t occupied(const fs::path& path) {
  struct stat info {};
  if (::lstat(path.c_str(), &info) != 0) return 0;
  return static_cast<std::uint64_t>(info.st_blocks) * 512;
}

std::uint64_t tree_bytes(const std::string& root) {
  std::uint64_t bytes = occupied(root);
  std::error_code error;
  fs::recursive_directory_iterator entry(root, fs::directory_options::skip_permission_denied,
                                         error);
  for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    bytes += occupied(entry->path());
  }
  return bytes;
}

void add(DiskUsage& usage, bool active, std::uint64_t bytes) {
  ++usage.total;
  usage.bytes += bytes;
  if (active) {
    ++usage.active;
  } else {
    usage.reclaimable_bytes += bytes;
  }
}

}  // namespace

std::uint64_t vm_bytes(const VmStore& store, const VmRecord& record) {
  return tree_bytes(store.paths(record.id).disks);
}

std::vector<DiskUsage> disk_usage(const VmStore& store) {
  DiskUsage images;
  images.type = "Images";
  DiskUsage vms;
  vms.type = "Containers";
  DiskUsage assets;
  assets.type = "Assets";
  DiskUsage cache;
  cache.type = "Cache";
  for (const auto& record : store.list()) {
    add(vms, record.has_monitor(), vm_bytes(store, record));
  }
  const storage::DataDirectory& data = store.data();
  for (const auto& image : image::ImageStore(data).list()) {
    add(images, !image_users(store, image.digest).none(),
        tree_bytes(fs::path(image.disk_path).parent_path()));
  }
  for (const auto& folder : {data.kernels(), data.initramfs(), data.rootfs()}) {
    add(assets, true, tree_bytes(folder));
  }
  add(cache, false, tree_bytes(data.cache()));
  return {images, vms, assets, cache};
}

}  // namespace vm
