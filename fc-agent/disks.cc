#include "fc-agent/disks.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

#include <algorithm>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"

namespace fc_agent {
namespace {

// _IOW('f', 16, __u64): the header that has it is not exported to user space.
constexpr unsigned long kExt4ResizeFs = _IOW('f', 16, std::uint64_t);

}  // namespace

std::string find_disk(const std::string& sys_directory, const std::string& serial) {
  for (const auto& device : base::list_directory(sys_directory)) {
    if (!device.starts_with("vd")) continue;
    auto text = base::try_read_file(base::cat(sys_directory, "/", device, "/serial"), 256);
    if (!text) continue;
    while (!text->empty() && text->back() == '\n') text->pop_back();
    if (*text == serial) return device;
  }
  return {};
}

std::string wait_for_disk(Uevents& uevents, const std::string& sys_directory,
                          const std::string& serial, std::chrono::milliseconds timeout) {
  std::string device;
  const bool found = uevents.wait_until(
      [&] {
        device = find_disk(sys_directory, serial);
        return !device.empty();
      },
      timeout);
  if (!found) throw base::Error(ETIMEDOUT, "waiting for disk", serial);
  return device;
}

void grow_ext4(const std::string& device_path, const std::string& mount_point,
               std::uint64_t bytes) {
  const base::Fd device = base::open_file(device_path, O_RDONLY);
  std::uint64_t device_bytes = 0;
  // SAFETY: BLKGETSIZE64 writes a u64.
  if (::ioctl(device.get(), BLKGETSIZE64, &device_bytes) != 0) {
    base::throw_errno("reading the size of", device_path);
  }
  struct statfs info {};
  if (::statfs(mount_point.c_str(), &info) != 0) base::throw_errno("examining", mount_point);
  const auto block_bytes = static_cast<std::uint64_t>(info.f_bsize);
  std::uint64_t blocks = std::min(bytes, device_bytes) / block_bytes;
  // f_blocks leaves out the file system's own overhead, so this only saves the plainly useless call.
  if (blocks <= static_cast<std::uint64_t>(info.f_blocks)) return;
  const base::Fd root = base::open_file(mount_point, O_RDONLY | O_DIRECTORY);
  // SAFETY: EXT4_IOC_RESIZE_FS reads a u64, the new number of blocks.
  if (::ioctl(root.get(), kExt4ResizeFs, &blocks) != 0) {
    base::throw_errno("growing the file system of", device_path);
  }
}

}  // namespace fc_agent
