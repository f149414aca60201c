#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "wire/boot_plan.h"

namespace fc_agent {

// Changes a container's root before anything in it runs. What the image put there decides nothing
// about what is touched outside: every path is resolved inside `root` (openat2(2), RESOLVE_IN_ROOT).
// Throws base::Error at the first edit that fails.
void apply_root_edits(const std::string& root, const std::vector<wire::PlanRootEdit>& edits);

// The text of the regular file `path` in `root`, resolved the same way; empty when there is none.
// Throws base::Error for anything else that has this name, and for more than `max_bytes`.
std::string read_inside(const std::string& root, const std::string& path, std::size_t max_bytes);

// Writes `text` to the regular file `path` in `root`, resolved the same way, in place, for it may be
// bound elsewhere; only when it holds `expected`, with or without a newline at its end, which stays.
// Throws base::Error when it cannot be read or written.
void replace_inside(const std::string& root, const std::string& path, const std::string& expected,
                    const std::string& text);

// Writes /proc/sys/<name with slashes>. `proc_sys` is "/proc/sys".
void set_sysctl(const std::string& proc_sys, const std::string& name, const std::string& value);

}  // namespace fc_agent
