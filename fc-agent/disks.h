#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "fc-agent/uevents.h"

namespace fc_agent {

// The block device ("vda") whose virtio serial is `serial`; empty when there is none.
// `sys_directory` is /sys/block.
std::string find_disk(const std::string& sys_directory, const std::string& serial);

// As find_disk, waiting for it to appear. Throws base::Error(ETIMEDOUT).
std::string wait_for_disk(Uevents& uevents, const std::string& sys_directory,
                          const std::string& serial, std::chrono::milliseconds timeout);

// Grows the mounted ext4 file system at `mount_point` to `bytes`, or to the device's size when that is
// less (EXT4_IOC_RESIZE_FS of the kernel's fs/ext4/ext4.h). Never shrinks. Throws base::Error.
void grow_ext4(const std::string& device_path, const std::string& mount_point, std::uint64_t bytes);

}  // namespace fc_agent
