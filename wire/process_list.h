#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wire {

// A process of a container, as it is seen in there.
struct ProcessInfo {
  std::int32_t pid = 0;
  std::int32_t parent_pid = 0;  // 0: outside the container
  std::int32_t guest_pid = 0;   // in the guest's own pid namespace
  std::int32_t group_pid = 0;   // of its process group
  std::string user;             // effective; a name of the container's, or the number
  std::string real_user;
  std::string group;
  std::string real_group;
  std::string groups;     // supplementary, with commas
  std::string command;    // comm of proc(5)
  std::string arguments;  // with spaces; cut at kMaxArgumentBytes
  std::string state;      // one letter
  std::string terminal;   // "pts/0" or "?"
  std::int32_t nice = 0;
  std::uint64_t resident_kib = 0;
  std::uint64_t virtual_kib = 0;
  std::uint64_t cpu_ms = 0;
  std::uint64_t elapsed_ms = 0;  // since its start
  std::int32_t seccomp = 0;      // as in /proc/<pid>/status
  // Capabilities, one bit each.
  std::uint64_t cap_effective = 0;
  std::uint64_t cap_permitted = 0;
  std::uint64_t cap_inheritable = 0;
  std::uint64_t cap_bounding = 0;
  std::uint64_t cap_ambient = 0;

  static constexpr std::size_t kMaxArgumentBytes = 4096;
};

struct ProcessList {
  std::vector<ProcessInfo> processes;  // by pid
  std::uint64_t left_out = 0;          // there were more, and no room for them

  static constexpr std::size_t kMaxProcesses = 4096;
  static constexpr std::size_t kMaxBytes = 32 << 20;
};

std::string to_json(const ProcessList& list);
// Throws base::Error.
ProcessList parse_process_list(std::string_view json);

}  // namespace wire
