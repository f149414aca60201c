#pragma once

#include <string>

#include "base/fd.h"
#include "hypervisor/hypervisor.h"

namespace vm {

// What a monitor does with the folder of a snapshot. Both throw base::Error.

hypervisor::SavedMachine saved_machine_in(const std::string& directory);
// Nobody removes the snapshot as long as this is open.
base::Fd lock_snapshot(const std::string& directory);

}  // namespace vm
