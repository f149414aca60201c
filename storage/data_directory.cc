#include "storage/data_directory.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "base/mount.h"
#include "storage/loop_file.h"
#include "storage/reflink.h"
#include "storage/shared_assets.h"

namespace storage {
namespace {

constexpr char kRootDefaultBackingFile[] = "/var/lib/fcvm/data.btrfs";

// The file that says a directory is ours, with the kind it was found to be. Written first, so that
// whatever else is there is ours too.
constexpr char kMarker[] = "/.fcvm-data";

struct KindName {
  DataDirectoryKind kind;
  const char* name;
};
constexpr KindName kKindNames[] = {{DataDirectoryKind::kReflink, "fcvm 1 reflink\n"},
                                   {DataDirectoryKind::kLoopFile, "fcvm 1 loop\n"},
                                   {DataDirectoryKind::kPlain, "fcvm 1 plain\n"}};

std::optional<DataDirectoryKind> read_marker(const DataDirectory& data) {
  const auto text = base::try_read_file(data.root() + kMarker, 64);
  if (!text) return std::nullopt;
  for (const auto& [kind, name] : kKindNames) {
    if (*text == name) return kind;
    // Torn: as if it had never been written.
    if (std::string_view(name).starts_with(*text)) return std::nullopt;
  }
  throw base::Error(base::cat("opening data directory ", base::quoted(data.root()),
                              ": it was made by a newer fcvm"));
}

void write_marker(const DataDirectory& data, DataDirectoryKind kind) {
  for (const auto& [candidate, name] : kKindNames) {
    if (candidate == kind) base::replace_file(data.root() + kMarker, name, 0600, true);
  }
}

// Links resolved as far as the path exists; "." and ".." beyond that too.
std::string resolve(const std::string& path) {
  std::string absolute = path;
  if (absolute.empty()) throw base::Error("the data directory has an empty name");
  if (absolute.front() != '/') absolute = base::canonical_path(".") + "/" + absolute;
  std::string rest;
  for (;;) {
    while (absolute.size() > 1 && absolute.back() == '/') absolute.pop_back();
    if (absolute.empty() || absolute == "/") return rest.empty() ? "/" : rest;
    char* real = ::realpath(absolute.c_str(), nullptr);
    if (real != nullptr) {
      std::string found(real);
      std::free(real);
      return (found == "/" ? "" : found) + (rest.empty() && found == "/" ? "/" : rest);
    }
    const auto slash = absolute.rfind('/');
    const std::string name = absolute.substr(slash + 1);
    if (name == "..") throw base::Error(ENOENT, "resolving", path);
    if (name != ".") rest = "/" + name + rest;
    absolute.resize(slash);
  }
}

std::string run_parent() {
  if (::geteuid() == 0) return "/run/fcvm";
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  if (runtime != nullptr && runtime[0] == '/') return std::string(runtime) + "/fcvm";
  return base::cat("/tmp/fcvm-", static_cast<unsigned long>(::geteuid()));
}

// Others may write to the parent (/tmp), so a directory that is there already proves nothing.
void make_private_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) base::throw_errno("creating", path);
  struct stat info {};
  if (::lstat(path.c_str(), &info) < 0) base::throw_errno("inspecting", path);
  if (!S_ISDIR(info.st_mode) || info.st_uid != ::geteuid() || (info.st_mode & 077) != 0) {
    base::Error error(base::cat("using ", base::quoted(path),
                                " for sockets: it is not a directory of this user with mode 0700"));
    error.set_hint("remove it, or set XDG_RUNTIME_DIR");
    throw error;
  }
}

void make_run_directory(const DataDirectory& data) {
  make_private_directory(run_parent());
  make_private_directory(data.run());
}

base::FileLock lock(const DataDirectory& data) {
  make_private_directory(run_parent());
  return base::FileLock::acquire(data.run() + ".lock");
}

void make_folders(const DataDirectory& data) {
  // `state` comes last: it being there means that the others are.
  for (const std::string& folder :
       {data.kernels(), data.initramfs(), data.rootfs(), data.images(), data.vm_disks(),
        data.snapshots(), data.cache(), data.state()}) {
    if (::mkdir(folder.c_str(), 0700) < 0 && errno != EEXIST) base::throw_errno("creating", folder);
  }
}

bool uses_loop_file(const DataDirectory& data) {
  return ::geteuid() == 0 && base::path_exists(data.backing_file());
}

// Where a loop file cannot be mounted at all, by the error of the attempt: no CAP_SYS_ADMIN (a
// container), no loop devices, no btrfs in the kernel.
bool loop_is_impossible(const base::Error& error) {
  return error.errnum() == EPERM || error.errnum() == EACCES || error.errnum() == ENODEV ||
         error.errnum() == ENXIO;
}

DataDirectoryKind prepare_plain(const DataDirectory& data, const std::string& why) {
  base::log_warn(base::cat("the data directory ", base::quoted(data.root()),
                           " is on a file system without reflinks", why,
                           ": disks of VMs are copied, which takes time and space"));
  write_marker(data, DataDirectoryKind::kPlain);
  return DataDirectoryKind::kPlain;
}

DataDirectoryKind prepare_loop(const DataDirectory& data, const PrepareOptions& options) {
  if (!base::list_directory(data.root()).empty()) {
    base::Error error(base::cat("making data directory ", base::quoted(data.root()),
                                ": it holds other files and its file system has no reflinks"));
    error.set_hint("choose an empty or a new directory with --data-dir");
    throw error;
  }
  make_loop_file(data.backing_file(), options.loop_file_bytes);
  base::fault_point("setup.loop-file");
  try {
    mount_loop_file(data.backing_file(), data.root());
  } catch (const base::Error& error) {
    if (!loop_is_impossible(error)) throw;
    ::unlink(data.backing_file().c_str());
    return prepare_plain(data,
                         base::cat(" and a loop file cannot be mounted (", error.what(), ")"));
  }
  base::fault_point("setup.mounted");
  write_marker(data, DataDirectoryKind::kLoopFile);
  return DataDirectoryKind::kLoopFile;
}

DataDirectoryKind prepare_kind(const DataDirectory& data, const PrepareOptions& options) {
  if (const auto kind = read_marker(data)) return *kind;
  base::make_directories(data.root(), 0700);
  if (uses_loop_file(data) && !is_mount_point(data.root())) {
    mount_loop_file(data.backing_file(), data.root());
    if (const auto kind = read_marker(data)) return *kind;
    base::fault_point("setup.mounted");
    write_marker(data, DataDirectoryKind::kLoopFile);
    return DataDirectoryKind::kLoopFile;
  }
  if (supports_reflink(data.root())) {
    const auto kind =
        uses_loop_file(data) ? DataDirectoryKind::kLoopFile : DataDirectoryKind::kReflink;
    write_marker(data, kind);
    return kind;
  }
  if (::geteuid() != 0) return prepare_plain(data, {});
  return prepare_loop(data, options);
}

// Whether a directory may become a data directory without having been named to `fcvm setup`: it is
// not there, is empty, or was begun before.
bool is_ours_or_nobodys(const DataDirectory& data) {
  return base::path_exists(data.root() + kMarker) || !base::path_exists(data.root()) ||
         (base::is_directory(data.root()) && base::list_directory(data.root()).empty());
}

}  // namespace

DataDirectory::DataDirectory(const std::string& root)
    : root_(resolve(root)), run_(run_parent() + "/" + base::sha256(root_).substr(0, 12)) {}

std::string DataDirectory::backing_file() const {
  return root_ == kRootDefaultDirectory ? kRootDefaultBackingFile : root_ + ".btrfs";
}

std::string default_data_directory() {
  if (::geteuid() == 0) return kRootDefaultDirectory;
  const char* data_home = std::getenv("XDG_DATA_HOME");
  if (data_home != nullptr && data_home[0] == '/') return std::string(data_home) + "/fcvm";
  const char* home = std::getenv("HOME");
  if (home != nullptr && home[0] == '/') return std::string(home) + "/.local/share/fcvm";
  base::Error error("finding the data directory: neither XDG_DATA_HOME nor HOME is set");
  error.set_hint("name one with --data-dir or FCVM_DATA_DIR");
  throw error;
}

DataDirectoryKind prepare_data_directory(const DataDirectory& data, const PrepareOptions& options) {
  return base::with_context(base::cat("preparing data directory ", base::quoted(data.root())), [&] {
    const base::FileLock held = lock(data);
    const DataDirectoryKind kind = prepare_kind(data, options);
    make_folders(data);
    // Disks and snapshots hold what the VMs' memory and files hold; root's assets are for all.
    if (::geteuid() == 0) {
      share_assets(data);
    } else if (::chmod(data.root().c_str(), 0700) < 0) {
      base::throw_errno("protecting", data.root());
    }
    make_run_directory(data);
    return kind;
  });
}

DataDirectory open_data_directory(const std::string& root) {
  DataDirectory data(root);
  if (!read_marker(data) && ::geteuid() != 0 && has_system_assets() && is_ours_or_nobodys(data)) {
    prepare_data_directory(data);
  }
  if (!read_marker(data)) {
    const bool remountable = uses_loop_file(data) && base::is_directory(data.root());
    if (remountable) {
      const base::FileLock held = lock(data);
      if (!is_mount_point(data.root())) {
        base::with_context(base::cat("opening data directory ", base::quoted(data.root())),
                           [&] { mount_loop_file(data.backing_file(), data.root()); });
      }
    }
    if (!remountable || !read_marker(data)) {
      base::Error error(base::cat(
          "opening data directory ", base::quoted(data.root()),
          base::path_exists(data.root()) ? ": it has not been set up" : ": it does not exist"));
      error.set_hint("run 'fcvm setup'");
      throw error;
    }
  }
  if (!base::path_exists(data.state())) {
    // Without records every disk would be nobody's, and the next command would remove it.
    if (!base::list_directory(data.vm_disks()).empty()) {
      base::Error error(base::cat("opening data directory ", base::quoted(data.root()),
                                  ": the records of its VMs are gone, their disks are there"));
      error.set_hint(base::cat("put ", data.state(), " back, or remove what is in ",
                               data.vm_disks(), ", which loses the disks"));
      throw error;
    }
    make_folders(data);
  }
  make_run_directory(data);
  return data;
}

void close_data_directory(const DataDirectory& data) {
  const base::FileLock held = lock(data);
  if (uses_loop_file(data) && is_mount_point(data.root())) base::unmount(data.root());
}

}  // namespace storage
