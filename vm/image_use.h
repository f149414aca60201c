// Who needs an image.
#pragma once

#include <string>
#include <vector>

#include "vm/vm_store.h"

namespace vm {

struct ImageUsers {
  std::vector<VmRecord> vms;  // also those that are being made; without those being removed
  std::vector<std::string> snapshots;  // tags

  bool none() const { return vms.empty() && snapshots.empty(); }
};

// Of the image with this digest. A snapshot that cannot be read needs it when it speaks of it
// anywhere. Throws base::Error.
ImageUsers image_users(const VmStore& store, const std::string& digest);

}  // namespace vm
