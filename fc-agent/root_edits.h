#pragma once

#include <string>
#include <vector>

#include "wire/boot_plan.h"

namespace fc_agent {

// Changes a container's root before anything in it runs. What the image put there decides nothing
// about what is touched outside: every path is resolved inside `root` (openat2(2), RESOLVE_IN_ROOT).
// Throws base::Error at the first edit that fails.
void apply_root_edits(const std::string& root, const std::vector<wire::PlanRootEdit>& edits);

// Writes /proc/sys/<name with slashes>. `proc_sys` is "/proc/sys".
void set_sysctl(const std::string& proc_sys, const std::string& name, const std::string& value);

}  // namespace fc_agent
