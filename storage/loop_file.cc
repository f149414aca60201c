#include "storage/loop_file.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/mount.h"
#include "base/process.h"
#include "storage/staging.h"

namespace storage {
namespace {

constexpr std::uint64_t kMinimumFreeBytes = 2ULL << 30;
// mkfs.btrfs(8) refuses less than about 110 MiB; below 1 GiB nothing useful fits.
constexpr std::uint64_t kMinimumFileBytes = 1ULL << 30;

std::string parent_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}
std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// The device that has `file` behind it already, or an empty descriptor.
base::Fd find_loop_device(const struct stat& file) {
  for (const std::string& name : base::list_directory("/sys/block")) {
    if (!name.starts_with("loop")) continue;
    if (!base::path_exists("/sys/block/" + name + "/loop/backing_file")) continue;
    base::Fd device = base::try_open_file("/dev/" + name, O_RDWR);
    if (!device) continue;
    struct loop_info64 info {};
    // SAFETY: the ioctl fills a loop_info64 of ours.
    if (::ioctl(device.get(), LOOP_GET_STATUS64, &info) < 0) continue;
    if (info.lo_device == file.st_dev && info.lo_inode == file.st_ino) return device;
  }
  return {};
}

base::Fd attach(const base::Fd& file, const std::string& path) {
  const base::Fd control = base::open_file("/dev/loop-control", O_RDWR);
  // Others take free devices too; each turn loses one race at most.
  for (int turn = 0; turn < 64; ++turn) {
    const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
    if (number < 0) base::throw_errno("getting a loop device");
    base::Fd device = base::open_file(base::cat("/dev/loop", number), O_RDWR);
    struct loop_config config {};
    config.fd = static_cast<__u32>(file.get());
    config.block_size = 4096;
    // AUTOCLEAR: the kernel frees the device after the last unmount, whoever does that. DIRECT_IO:
    // pages would be cached twice otherwise, by the file system inside and by the one below.
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    std::memcpy(config.info.lo_file_name, path.data(),
                std::min(path.size(), sizeof(config.info.lo_file_name) - 1));
    for (;;) {
      // SAFETY: the ioctl reads a loop_config of ours; COMPAT(kernel 5.8) brought it.
      if (::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return device;
      if (errno != EINVAL || (config.info.lo_flags & LO_FLAGS_DIRECT_IO) == 0) break;
      config.info.lo_flags &= ~static_cast<__u32>(LO_FLAGS_DIRECT_IO);
    }
    if (errno != EBUSY) base::throw_errno("attaching a loop device to", path);
  }
  throw base::Error(EBUSY, "getting a loop device");
}

std::string device_path(const base::Fd& device) {
  return base::canonical_path(base::cat("/proc/self/fd/", device.get()));
}

}  // namespace

void make_loop_file(const std::string& file, std::uint64_t bytes) {
  const std::string parent = parent_of(file);
  base::make_directories(parent);
  const std::uint64_t free = base::free_bytes(parent);
  if (free < kMinimumFreeBytes) {
    base::Error error(base::cat("creating ", base::quoted(file), ": only ", free >> 20,
                                " MiB are free, at least ", kMinimumFreeBytes >> 20,
                                " MiB are needed"));
    error.set_hint("free some space, or choose another place with --data-dir");
    throw error;
  }
  if (bytes < kMinimumFileBytes) {
    throw base::Error(base::cat("creating ", base::quoted(file), ": the size must be at least ",
                                kMinimumFileBytes >> 20, " MiB"));
  }
  StagingFile staging(parent, name_of(file));
  if (::ftruncate(staging.fd().get(), static_cast<off_t>(bytes)) < 0) {
    base::throw_errno("setting the size of", staging.path());
  }
  base::SpawnOptions mkfs;
  // One copy of the metadata: both would be in one file.
  mkfs.argv = {"mkfs.btrfs", "--quiet", "--metadata", "single", "--label", "fcvm", staging.path()};
  mkfs.parent_death_signal = SIGKILL;
  try {
    base::run_command_checked(std::move(mkfs));
  } catch (base::Error& error) {
    if (error.errnum() == ENOENT) error.set_hint("install the package btrfs-progs");
    throw;
  }
  staging.publish();
}

void mount_loop_file(const std::string& file, const std::string& directory) {
  const base::Fd backing = base::open_file(file, O_RDWR);
  struct stat info {};
  if (::fstat(backing.get(), &info) < 0) base::throw_errno("inspecting", file);
  base::Fd device = find_loop_device(info);
  if (!device) device = attach(backing, file);
  // discard: what is removed inside becomes a hole in the file again.
  base::mount_fs(device_path(device), directory, "btrfs", MS_NOATIME | MS_NODEV | MS_NOSUID,
                 "discard=async");
}

bool is_mount_point(const std::string& directory) {
  for (const base::MountInfo& mount : base::mounts_below(directory)) {
    if (mount.mount_point == directory) return true;
  }
  return false;
}

}  // namespace storage
