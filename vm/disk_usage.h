#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "vm/vm_record.h"
#include "vm/vm_store.h"

namespace vm {

// What one kind of thing in the data directory takes. Bytes are blocks as the file system counts
// them; those that a VM's disk shares with the base root file system count with both.
struct DiskUsage {
  std::string type;  // "Images", "Containers", "Assets", "Cache"
  std::size_t total = 0;
  std::size_t active = 0;  // in use by a VM, or running
  std::uint64_t bytes = 0;
  std::uint64_t reclaimable_bytes = 0;  // of those not active
};

// Blocks; reads every file's inode. What vanishes meanwhile does not count.
std::vector<DiskUsage> disk_usage(const VmStore& store);
// What this VM's folder takes.
std::uint64_t vm_bytes(const VmStore& store, const VmRecord& record);

}  // namespace vm
