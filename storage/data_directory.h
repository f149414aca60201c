// The data directory: everything fcvm keeps, in one place with one layout. Its run directory (sockets
// and locks that must not survive a reboot) lies elsewhere, on a tmpfs.
#pragma once

#include <cstdint>
#include <string>

namespace storage {

// Of root.
inline constexpr char kRootDefaultDirectory[] = "/mnt/fcvm-btrfs";

// Paths only: making one touches nothing. Every path is absolute, without a trailing slash.
class DataDirectory {
 public:
  // `root` may be relative or not exist yet; links in it are resolved as far as it exists, so that
  // two names of one directory share one run directory.
  explicit DataDirectory(const std::string& root);

  const std::string& root() const { return root_; }
  std::string kernels() const { return root_ + "/kernels"; }
  std::string default_kernel() const { return root_ + "/kernels/vmlinux.bin"; }
  std::string initramfs() const { return root_ + "/initramfs"; }
  std::string rootfs() const { return root_ + "/rootfs"; }
  std::string base_rootfs() const { return root_ + "/rootfs/base.ext4"; }
  std::string images() const { return root_ + "/images"; }
  std::string image_names() const { return root_ + "/image-names"; }
  std::string vm_disks() const { return root_ + "/vm-disks"; }
  std::string vm_disk(const std::string& vm_id) const { return vm_disks() + "/" + vm_id; }
  std::string snapshots() const { return root_ + "/snapshots"; }
  std::string state() const { return root_ + "/state"; }
  // Downloads that can be made again.
  std::string cache() const { return root_ + "/cache"; }

  // 0700: /run/fcvm/<id> for root, $XDG_RUNTIME_DIR/fcvm/<id> otherwise (/tmp/fcvm-<uid>/<id> where
  // that is unset); <id> is the first 12 digits of the SHA-256 of root(). Short enough for
  // sun_path: <run>/<vm_id>/monitor.sock.
  const std::string& run() const { return run_; }
  std::string vm_run(const std::string& vm_id) const { return run_ + "/" + vm_id; }

  // The sparse file that holds the file system mounted at root(), where one is needed: <root>.btrfs,
  // and /var/lib/fcvm/data.btrfs for /mnt/fcvm-btrfs.
  std::string backing_file() const;

 private:
  std::string root_;
  std::string run_;
};

// /mnt/fcvm-btrfs for root, $XDG_DATA_HOME/fcvm (~/.local/share/fcvm) otherwise. Throws base::Error
// when an ordinary user has no home.
std::string default_data_directory();

// What a data directory lies on.
enum class DataDirectoryKind {
  kReflink,   // btrfs, XFS or another file system where FICLONE works, used as it is
  kLoopFile,  // a btrfs of our own in backing_file()
  kPlain,     // no reflinks: copies are sparse copies
};

struct PrepareOptions {
  std::uint64_t loop_file_bytes = 60ULL << 30;  // sparse; only used when the file is made
};

// Makes the data directory ready: finds out whether FICLONE works there, makes and mounts a loop
// file where it does not (root only; an ordinary user gets a plain directory and a warning in the
// log), and makes its folders. Does nothing when all is there; may run twice at once, and again
// after being killed anywhere. Throws base::Error with a hint: too little space, a directory that
// holds other things.
DataDirectoryKind prepare_data_directory(const DataDirectory& data,
                                         const PrepareOptions& options = {});

// For every command but setup: mounts the loop file again if a reboot unmounted it, makes the run
// directory. An ordinary user who can use the system's assets (storage/shared_assets.h) gets a data
// directory by that. Throws base::Error with the hint to run `fcvm setup` when there is none. Cheap (a few system calls) when all is there.
DataDirectory open_data_directory(const std::string& root);

// Unmounts the loop file of `data`, if one is mounted; the loop device goes with it. The file and
// what it holds stay. For tests and removal.
void close_data_directory(const DataDirectory& data);

}  // namespace storage
