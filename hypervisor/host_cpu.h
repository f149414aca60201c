// The host's CPU, as far as it decides how guests run.
#pragma once

#include <string>
#include <string_view>

namespace hypervisor {

struct HostCpu {
  std::string machine;  // as uname -m has it
  std::string model;    // may be empty
  unsigned count = 0;
  std::string virtualization;  // "vmx", "svm", or empty: no hardware virtualization (x86 only)
};

// From /proc/cpuinfo and uname(2).
HostCpu host_cpu();
// All but `machine`, from the text of /proc/cpuinfo.
HostCpu parse_cpuinfo(std::string_view cpuinfo);

}  // namespace hypervisor
