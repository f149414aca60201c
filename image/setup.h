#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/base_rootfs.h"
#include "image/initramfs.h"
#include "image/kernel.h"
#include "image/progress.h"
#include "storage/data_directory.h"

namespace base {
class Cancellation;
}

namespace image {

struct SetupOptions {
  std::uint64_t loop_file_bytes = 60ULL << 30;  // when a loop file has to be made
  std::string kernel_file;                      // empty: the distribution's cloud kernel
  std::vector<std::string> base_packages;       // beyond the engines
  bool force = false;                           // look for newer packages and build again
  std::string agent_path;                       // empty: the one that belongs to this program
  ProgressCallback progress;
  const base::Cancellation* cancellation = nullptr;
};

struct SetupResult {
  storage::DataDirectoryKind kind{};
  Kernel kernel;
  BaseRootfs base;
  Initramfs initramfs;
};

// Held by a setup.
std::string setup_lock_path(const storage::DataDirectory& data);

// Makes all that a VM needs: the data directory, kernel, base root file system and initramfs. Each
// asset appears whole or not at all, so it may be killed anywhere and run again; with everything
// there it takes milliseconds. Two at once: the second waits. Throws base::Error and
// base::Cancelled.
SetupResult run_setup(const storage::DataDirectory& data, const SetupOptions& options = {});

}  // namespace image
