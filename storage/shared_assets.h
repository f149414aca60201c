// What root's `fcvm setup` made, for everyone on the machine: kernel, base root file system and
// seccomp profile. They hold packages of the distribution, and the kernel root has chosen. An ordinary user reads them where
// they are; everything else stays in a data directory of their own.
#pragma once

#include <string>

#include "storage/data_directory.h"

namespace storage {

// Root's default data directory, or $FCVM_SYSTEM_DATA_DIR.
std::string system_data_directory();

// The data directory to read `asset` ("kernels/vmlinux.bin") from: `data` where it is there; else,
// for an ordinary user, the system's where it is readable there and belongs to root or to that user;
// else `data`.
DataDirectory with_asset(const DataDirectory& data, const std::string& asset);

// True when an ordinary user can run VMs on the system's assets alone.
bool has_system_assets();

// Lets everyone read the assets of `data`, which is root's, and nothing else in it: of imported
// kernels the default one. Throws base::Error.
void share_assets(const DataDirectory& data);

}  // namespace storage
