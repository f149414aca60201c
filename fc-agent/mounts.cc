#include "fc-agent/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/mount.h"

namespace fc_agent {
namespace {

struct SystemMount {
  const char* source;
  const char* target;
  const char* fs_type;
  unsigned long flags;
  const char* data;
  bool needed = true;
};

constexpr unsigned long kNoExec = MS_NOSUID | MS_NODEV | MS_NOEXEC;

constexpr SystemMount kFirstMounts[] = {
    {"devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755"},
    {"proc", "/proc", "proc", kNoExec, ""},
    {"sysfs", "/sys", "sysfs", kNoExec, ""},
};
constexpr SystemMount kSystemMounts[] = {
    {"devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "gid=5,mode=0620,ptmxmode=0666"},
    {"tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
    {"mqueue", "/dev/mqueue", "mqueue", kNoExec, "", false},
    {"cgroup2", "/sys/fs/cgroup", "cgroup2", kNoExec, "nsdelegate,memory_recursiveprot"},
    {"tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755"},
    {"tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777"},
};

void link_if_missing(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) != 0 && errno != EEXIST) {
    base::throw_errno("making link", path);
  }
}

void mount_one(const SystemMount& mount) {
  const std::string target = mount.target;
  if (!base::is_directory(target)) base::make_directories(target);
  try {
    base::mount_fs(mount.source, target, mount.fs_type, mount.flags, mount.data);
  } catch (const base::Error& error) {
    // A kernel that the user chose may lack an option, or message queues.
    if (error.errnum() == EINVAL) {
      base::mount_fs(mount.source, target, mount.fs_type, mount.flags);
    } else if (error.errnum() != ENODEV || mount.needed) {
      throw;
    }
  }
}

// With what is mounted below them.
constexpr const char* kMovedMounts[] = {"/dev", "/proc", "/sys", "/run", "/tmp"};

// A container runtime can only limit what its parent group hands down.
void delegate_controllers(const std::string& cgroup_root) {
  const std::string available = base::read_file(cgroup_root + "/cgroup.controllers", 4096);
  std::string request;
  std::size_t at = 0;
  while (at < available.size()) {
    const std::size_t end = available.find_first_of(" \n", at);
    if (end > at)
      request += base::cat(request.empty() ? "+" : " +", available.substr(at, end - at));
    if (end == std::string::npos) break;
    at = end + 1;
  }
  if (request.empty()) return;
  try {
    const base::Fd fd = base::open_file(cgroup_root + "/cgroup.subtree_control", O_WRONLY);
    base::write_all(fd, request);
  } catch (const base::Error& error) {
    // Limits will be missing, which is said by whoever asks for one.
    base::log_warn(error.what());
  }
}

std::string escape_overlay_path(const std::string& path) {
  std::string out;
  for (const char c : path) {
    if (c == '\\' || c == ',' || c == ':') out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

void mount_initramfs() {
  for (const SystemMount& mount : kFirstMounts) mount_one(mount);
}

void mount_system() {
  for (const SystemMount& mount : kSystemMounts) mount_one(mount);
  link_if_missing("/proc/self/fd", "/dev/fd");
  link_if_missing("/proc/self/fd/0", "/dev/stdin");
  link_if_missing("/proc/self/fd/1", "/dev/stdout");
  link_if_missing("/proc/self/fd/2", "/dev/stderr");
  delegate_controllers("/sys/fs/cgroup");
}

void switch_root(const std::string& root) {
  for (const std::string mount : kMovedMounts) {
    const std::string target = root + mount;
    if (!base::is_directory(target)) base::make_directories(target);
    base::mount_fs(mount, target, "", MS_MOVE);
  }
  if (::chdir(root.c_str()) != 0) base::throw_errno("entering", root);
  base::mount_fs(".", "/", "", MS_MOVE);
  if (::chroot(".") != 0) base::throw_errno("changing the root to", root);
  if (::chdir("/") != 0) base::throw_errno("entering", "/");
  base::mount_fs("none", "/", "", MS_REC | MS_SHARED);
}

bool moves_with_the_system(std::string_view path) {
  return std::any_of(std::begin(kMovedMounts), std::end(kMovedMounts),
                     [path](const char* mount) { return path.starts_with(base::cat(mount, "/")); });
}

void mount_plan_disk(const wire::PlanDisk& disk, const std::string& device_path) {
  base::make_directories(disk.mount_point);
  unsigned long flags = MS_NODEV | MS_NOATIME;
  std::string options;
  if (disk.read_only) {
    flags |= MS_RDONLY;
    // The journal of a disk that cannot be written cannot be replayed either.
    if (disk.fs_type == "ext4") options = "noload";
  }
  base::mount_fs(device_path, disk.mount_point, disk.fs_type, flags, options);
}

std::string overlay_options(const wire::PlanOverlay& overlay) {
  std::string options = "lowerdir=";
  for (std::size_t i = 0; i < overlay.lower.size(); ++i) {
    if (i > 0) options += ':';
    options += escape_overlay_path(overlay.lower[i]);
  }
  options += base::cat(",upperdir=", escape_overlay_path(overlay.upper),
                       ",workdir=", escape_overlay_path(overlay.work));
  return options;
}

void mount_overlay(const wire::PlanOverlay& overlay) {
  for (const auto* path : {&overlay.upper, &overlay.work, &overlay.target}) {
    base::make_directories(*path);
  }
  const std::string options = overlay_options(overlay);
  // mount(2) takes one page of options and cuts off the rest without a word.
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  if (options.size() >= page_bytes) {
    throw base::Error(base::cat("mounting overlay on ", base::quoted(overlay.target), ": ",
                                overlay.lower.size(), " layers need more than ", page_bytes,
                                " bytes of options"));
  }
  base::mount_fs("overlay", overlay.target, "overlay", 0, options);
}

}  // namespace fc_agent
