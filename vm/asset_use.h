// Which assets VMs and snapshots need.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "storage/data_directory.h"

namespace vm {

// Kernels and initramfs files of every launch plan in `data`, by their paths; empty when a plan cannot
// be read. Throws base::Error.
std::optional<std::set<std::string>> assets_in_use(const storage::DataDirectory& data);

// image/prune.h for these; `current` is what a setup has just made.
void prune_assets(const storage::DataDirectory& data, const std::set<std::string>& current);

}  // namespace vm
