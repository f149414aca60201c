#pragma once

#include <map>
#include <string>

#include "base/fd.h"
#include "hypervisor/hypervisor.h"
#include "vm/launch_plan.h"

namespace vm {

// What a monitor does with the folder of a snapshot. All throw base::Error.

hypervisor::SavedMachine saved_machine_in(const std::string& directory);
// What a restored machine reads, by name, as it is now.
std::map<std::string, std::string> stamps_of_saved_machine(const std::string& directory);
// Nobody removes the snapshot as long as this is open. Refused when it is not the one that was
// verified for this plan.
base::Fd lock_snapshot(const RestorePlan& plan);

}  // namespace vm
