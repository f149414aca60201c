#pragma once

#include <string>

#include "image/kernel.h"
#include "storage/data_directory.h"

namespace image {

// What the kernel unpacks first: /init (the agent), /modules/<name>.ko, /modules/order (one path a
// line, in load order), /dev/console, and empty mount points.
struct Initramfs {
  std::string path;    // <data>/initramfs/<digest>.cpio
  std::string digest;  // SHA-256, hexadecimal
};

// The initramfs of this agent and this kernel's modules, made when it is not there: an agent that
// was upgraded is taken up without another setup. When neither changed it costs two stat(2) and a
// small read. Throws base::Error.
Initramfs ensure_initramfs(const storage::DataDirectory& data, const std::string& agent_path,
                           const Kernel& kernel);

}  // namespace image
