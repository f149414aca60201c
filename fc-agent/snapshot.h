// What a guest does before it is saved, and what a clone does to become another guest.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "wire/control.h"

namespace fc_agent {

// The container's processes stand still when it returns, and what they wrote is on the disk. Blocks
// for as long as that takes. Throws base::Error, also when `container`, its first process, has ended;
// nothing is frozen then.
void quiesce(const std::string& container_cgroup, pid_t container);

// The container's hosts(5) file in a clone: `now`, with the line that begins with the name `old_name`
// replaced by the same address's last line of `planned`. What the container wrote itself stays.
std::string merge_hosts(std::string_view now, std::string_view planned, std::string_view old_name);

// Everything that tells the guest from the one it was: host names, machine-id, the kernel's random
// numbers, files. `container` is the container's first process. Throws base::Error.
void take_identity(const wire::GuestIdentity& identity, pid_t container);

// The clock first: no process of the container sees the one of the snapshot. Throws base::Error.
void thaw(const std::string& container_cgroup, std::int64_t wall_clock_ns);

}  // namespace fc_agent
