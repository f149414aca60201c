// Removes assets nobody needs any more: initramfs files of agents and kernels of before, and kernels
// that were imported.
#pragma once

#include <functional>
#include <optional>
#include <set>
#include <string>

#include "base/files.h"
#include "storage/data_directory.h"

namespace image {

// Held by who takes a kernel or an initramfs, until something that `in_use` (below) reads names it.
// Throws base::Error.
base::FileLock hold_assets(const storage::DataDirectory& data);

// `in_use` says which kernels and initramfs files VMs have, by their paths; empty when it cannot tell,
// and nothing is removed then. `current` is used too, and the default kernel. Does nothing while
// another setup or the making of a VM is under way: the next setup does it. Kernels that other users
// have been able to read stay, for their VMs are not seen here. Returns how many were removed.
// Throws base::Error.
int prune_assets(const storage::DataDirectory& data, const std::set<std::string>& current,
                 const std::function<std::optional<std::set<std::string>>()>& in_use);

}  // namespace image
