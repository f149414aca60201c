#include "storage/shared_assets.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"

namespace storage {
namespace {

constexpr mode_t kDirectoryMode = 0755;
constexpr mode_t kSearchableMode = 0711;
constexpr mode_t kReadableByAll = 0444;
constexpr char kImported[] = "imported";  // in kernels/

// Root's own files in the open folder and below, by descriptors: who owns the folder's parent could
// put something else in the place of a name. Names that begin with a dot are half made.
void share_tree(const base::Fd& folder, const std::string& path, const std::string& skipped = {}) {
  struct stat info {};
  if (::fstat(folder.get(), &info) < 0) base::throw_errno("examining", path);
  if (info.st_uid != 0) return;
  if (::fchmod(folder.get(), kDirectoryMode) < 0) base::throw_errno("sharing", path);
  for (const std::string& name : base::list_directory(base::cat("/proc/self/fd/", folder.get()))) {
    if (name.front() == '.' || name == skipped) continue;
    const base::Fd entry(::openat(folder.get(), name.c_str(),
                                  O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!entry || ::fstat(entry.get(), &info) < 0) continue;  // a link, or gone
    const std::string full = path + "/" + name;
    if (S_ISDIR(info.st_mode)) {
      share_tree(entry, full);
      continue;
    }
    const bool plain = S_ISREG(info.st_mode) && info.st_uid == 0 && info.st_nlink == 1 &&
                       (info.st_mode & (S_ISUID | S_ISGID)) == 0;
    if (plain && (info.st_mode & kReadableByAll) != kReadableByAll &&
        ::fchmod(entry.get(), (info.st_mode & 0777) | kReadableByAll) < 0) {
      base::throw_errno("sharing", full);
    }
  }
}

// Of root's own kernels the default one only.
void share_imported_default(const base::Fd& kernels, const DataDirectory& data) {
  if (!base::path_exists(data.default_kernel())) return;
  const std::string imported = data.kernels() + "/" + kImported;
  const std::string prefix = imported + "/";
  const std::string file = base::canonical_path(data.default_kernel());
  if (!file.starts_with(prefix)) return;
  const std::string name =
      file.substr(prefix.size(), file.find('/', prefix.size()) - prefix.size());
  const auto open_in = [](const base::Fd& folder, const std::string& entry) {
    base::Fd fd(
        ::openat(folder.get(), entry.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) base::throw_errno("opening", entry);
    return fd;
  };
  const base::Fd parent = open_in(kernels, kImported);
  struct stat info {};
  if (::fstat(parent.get(), &info) < 0) base::throw_errno("examining", imported);
  if (info.st_uid != 0) return;
  if (::fchmod(parent.get(), kSearchableMode) < 0) base::throw_errno("sharing", imported);
  share_tree(open_in(parent, name), prefix + name);
}

}  // namespace

std::string system_data_directory() {
  const char* named = std::getenv("FCVM_SYSTEM_DATA_DIR");
  return named != nullptr && named[0] == '/' ? named : kRootDefaultDirectory;
}

DataDirectory with_asset(const DataDirectory& data, const std::string& asset) {
  if (::geteuid() == 0 || base::path_exists(data.root() + "/" + asset)) return data;
  const DataDirectory system(system_data_directory());
  const std::string path = system.root() + "/" + asset;
  struct stat info {};
  // Root's, or a file this user has put there: nobody else decides what kernel our VMs boot.
  const bool trusted = ::stat(path.c_str(), &info) == 0 &&
                       (info.st_uid == 0 || info.st_uid == ::geteuid()) &&
                       ::access(path.c_str(), R_OK) == 0;
  return trusted ? system : data;
}

bool has_system_assets() {
  const DataDirectory system(system_data_directory());
  return ::access(system.default_kernel().c_str(), R_OK) == 0 &&
         ::access(system.base_rootfs().c_str(), R_OK) == 0;
}

void share_assets(const DataDirectory& data) {
  // Search only: what the folder holds beside the assets is nobody's business.
  const base::Fd root = base::open_file(data.root(), O_RDONLY | O_DIRECTORY);
  struct stat info {};
  if (::fstat(root.get(), &info) < 0) base::throw_errno("examining", data.root());
  // Root may work in another user's data directory; then it is that user's to share.
  if (info.st_uid != 0) return;
  if (::fchmod(root.get(), kSearchableMode) < 0) base::throw_errno("sharing", data.root());
  const auto open_folder = [](const std::string& path) {
    return base::open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  };
  share_tree(open_folder(data.rootfs()), data.rootfs());
  const base::Fd kernels = open_folder(data.kernels());
  share_tree(kernels, data.kernels(), kImported);
  share_imported_default(kernels, data);
}

}  // namespace storage
