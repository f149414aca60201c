#include "hypervisor/host_cpu.h"

#include <sys/utsname.h>

#include <algorithm>

#include "base/files.h"

namespace hypervisor {
namespace {

bool has_word(std::string_view list, std::string_view word) {
  for (auto found = list.find(word); found != std::string_view::npos;
       found = list.find(word, found + 1)) {
    const auto end = found + word.size();
    const bool starts = found == 0 || list[found - 1] == ' ';
    if (starts && (end == list.size() || list[end] == ' ')) return true;
  }
  return false;
}

}  // namespace

HostCpu parse_cpuinfo(std::string_view cpuinfo) {
  HostCpu cpu;
  while (!cpuinfo.empty()) {
    const std::string_view line = cpuinfo.substr(0, cpuinfo.find('\n'));
    cpuinfo.remove_prefix(std::min(line.size() + 1, cpuinfo.size()));
    const auto colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    std::string_view key = line.substr(0, colon);
    key = key.substr(0, key.find_last_not_of(" \t") + 1);
    const std::string_view value = line.substr(std::min(colon + 2, line.size()));
    if (key == "processor") ++cpu.count;
    if (key == "model name" && cpu.model.empty()) cpu.model = value;
    if (key != "flags" || !cpu.virtualization.empty()) continue;
    for (const char* flag : {"vmx", "svm"}) {
      if (has_word(value, flag)) cpu.virtualization = flag;
    }
  }
  return cpu;
}

HostCpu host_cpu() {
  HostCpu cpu = parse_cpuinfo(base::try_read_file("/proc/cpuinfo", 16 << 20).value_or(""));
  utsname host{};
  ::uname(&host);
  cpu.machine = host.machine;
  return cpu;
}

}  // namespace hypervisor
