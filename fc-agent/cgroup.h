#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace fc_agent {

// Reading and signalling a group of cgroup v2 (kernel documentation, admin-guide/cgroup-v2). A group
// that is gone has zero of everything.

// The folder of `pid`'s group below `cgroup_root` ("/sys/fs/cgroup"); empty when the process is gone
// or in the root group.
std::string cgroup_of(const std::string& cgroup_root, pid_t pid);
// The path after "0::" of the text of /proc/<pid>/cgroup.
std::string parse_cgroup_path(std::string_view text);

// The number after `key` in a file of "key value" lines; 0 when there is none.
std::uint64_t value_of_key(std::string_view text, std::string_view key);

std::uint64_t cgroup_cpu_us(const std::string& group);
std::uint64_t cgroup_memory_bytes(const std::string& group);
// Threads, which is what the kernel's limit counts.
std::uint64_t cgroup_processes(const std::string& group);
struct CgroupIo {
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
};
// Of all block devices together.
CgroupIo cgroup_io(const std::string& group);
// The same of the text of io.stat: "253:0 rbytes=1 wbytes=2 …" lines.
CgroupIo parse_cgroup_io(std::string_view text);
// Processes of the group that the kernel killed for want of memory.
std::uint64_t cgroup_oom_kills(const std::string& group);

// Makes every process of the group stand still, and waits until they do, or lets them go on. Throws
// base::Error: ETIMEDOUT when some could not be stopped in time (they are let go again).
void freeze_cgroup(const std::string& group, std::chrono::milliseconds timeout);
void thaw_cgroup(const std::string& group);

// Sends `signal` to every process of the group and of those below it.
void signal_cgroup(const std::string& group, int signal);

}  // namespace fc_agent
