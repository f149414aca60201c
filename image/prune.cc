#include "image/prune.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "image/setup.h"
#include "storage/staging.h"

namespace image {
namespace {

constexpr std::chrono::seconds kHoldDeadline{30};
constexpr std::size_t kMaxNameBytes = 128;

std::string lock_path(const storage::DataDirectory& data) {
  base::make_directories(data.cache(), 0700);
  return data.cache() + "/assets.lock";
}

// Removes the files of `folder` that name something which is gone.
void remove_keys(const std::string& folder, const std::string& extension,
                 const std::function<std::string(const std::string&)>& target) {
  for (const std::string& name : base::list_directory(folder)) {
    if (!name.ends_with(extension) || name.front() == '.') continue;
    const std::string path = folder + "/" + name;
    const auto content = base::try_read_file(path, kMaxNameBytes);
    if (content && !base::path_exists(target(*content))) base::remove_tree(path);
  }
}

bool readable_by_others(const std::string& directory) {
  struct stat info {};
  return ::stat(directory.c_str(), &info) == 0 && (info.st_mode & S_IROTH) != 0;
}

int prune_initramfs(const std::string& folder, const std::set<std::string>& used) {
  int removed = 0;
  for (const std::string& name : base::list_directory(folder)) {
    if (!name.ends_with(".cpio") || name.front() == '.') continue;
    const auto is_it = [&](const std::string& path) { return path.ends_with("/" + name); };
    if (std::any_of(used.begin(), used.end(), is_it)) continue;
    base::remove_tree(folder + "/" + name);
    ++removed;
  }
  remove_keys(folder, ".key",
              [&](const std::string& digest) { return folder + "/" + digest + ".cpio"; });
  return removed;
}

int prune_imported_kernels(const std::string& folder, const std::set<std::string>& used) {
  int removed = 0;
  storage::sweep_stale(folder);
  for (const std::string& name : base::list_directory(folder)) {
    const std::string directory = folder + "/" + name;
    if (name == "keys" || name.front() == '.' || !base::is_directory(directory)) continue;
    const auto holds = [&](const std::string& path) {
      return path.find("/imported/" + name + "/") != std::string::npos;
    };
    if (std::any_of(used.begin(), used.end(), holds)) continue;
    if (::geteuid() == 0 && readable_by_others(directory)) continue;
    // Gone in one step; as a temporary without an owner it is swept if this process is killed.
    const std::string gone = folder + "/." + name + ".removed.tmp";
    base::remove_tree(gone);
    if (::rename(directory.c_str(), gone.c_str()) != 0) base::throw_errno("renaming", directory);
    base::remove_tree(gone);
    ++removed;
  }
  remove_keys(folder + "/keys", "", [&](const std::string& name) { return folder + "/" + name; });
  return removed;
}

}  // namespace

base::FileLock hold_assets(const storage::DataDirectory& data) {
  return base::FileLock::acquire(lock_path(data), false, kHoldDeadline);
}

int prune_assets(const storage::DataDirectory& data, const std::set<std::string>& current,
                 const std::function<std::optional<std::set<std::string>>()>& in_use) {
  return base::with_context("removing old assets", [&] {
    const std::string lock = lock_path(data);
    const base::FileLock setup = base::FileLock::try_acquire(setup_lock_path(data));
    const base::FileLock nobody_takes = base::FileLock::try_acquire(lock);
    if (!setup.held() || !nobody_takes.held()) return 0;
    auto used = in_use();
    if (!used) return 0;
    used->insert(current.begin(), current.end());
    if (base::path_exists(data.default_kernel())) {
      used->insert(base::canonical_path(data.default_kernel()));
    }
    return prune_initramfs(data.initramfs(), *used) +
           prune_imported_kernels(data.kernels() + "/imported", *used);
  });
}

}  // namespace image
