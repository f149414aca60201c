#include "fc-agent/stats.h"

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/files.h"
#include "fc-agent/cgroup.h"

namespace fc_agent {
namespace {

std::string read_or_empty(const std::string& path) {
  try {
    return base::try_read_file(path, 1 << 20).value_or("");
  } catch (const base::Error&) {
    return {};
  }
}

// The total of "0.00 0.01 0.05 1/42 1234" (proc(5), loadavg) counts threads, kernel's included:
// folders of /proc count processes.
std::uint64_t count_processes() {
  std::uint64_t count = 0;
  for (const auto& name : base::list_directory("/proc")) {
    if (!name.empty() && name.front() >= '0' && name.front() <= '9') ++count;
  }
  return count;
}

}  // namespace

void collect_stats(const std::string& cgroup, wire::ControlReply& reply) {
  const std::string memory = read_or_empty("/proc/meminfo");
  reply.mem_total_kib = value_of_key(memory, "MemTotal");
  reply.mem_available_kib = value_of_key(memory, "MemAvailable");
  const std::string own = read_or_empty("/proc/self/smaps_rollup");
  reply.agent_private_kib = value_of_key(own, "Private_Clean") + value_of_key(own, "Private_Dirty");
  reply.processes = count_processes();
  reply.container_cpu_us = cgroup_cpu_us(cgroup);
  reply.container_mem_bytes = cgroup_memory_bytes(cgroup);
  reply.container_processes = cgroup_processes(cgroup);
  const CgroupIo io = cgroup_io(cgroup);
  reply.container_read_bytes = io.read_bytes;
  reply.container_written_bytes = io.written_bytes;
}

}  // namespace fc_agent
