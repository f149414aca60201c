// QEMU's command line for a machine: a pure function, so that it can be compared with a golden text.
// Written against QEMU 7.2; every option's reason stands beside it in command_line.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "hypervisor/hypervisor.h"

namespace hypervisor::qemu {

// Name of the guest link's virtio-serial port (fc-agent looks for it in /sys/class/virtio-ports).
inline constexpr char kLinkPortName[] = "fcvm.link";

// Numbers of the descriptors the VMM inherits.
struct InheritedFds {
  int qmp = 3;      // stream socket
  int link = 4;     // stream socket
  int console = 5;  // stream socket
  int memory = 6;   // memfd of the guest's memory, of exactly mem_mib
  // With MachineConfig::restore only, both open for reading:
  int saved_state = 7;
  int saved_memory = 8;
};

struct CommandLineInput {
  std::string program;        // path of qemu-system-x86_64
  MachineConfig config;       // paths as the VMM sees them; accel is not kAuto
  std::uint64_t tsc_khz = 0;  // of the host; 0 when unknown or when the guest needs none (kvm)
  InheritedFds fds;
};

std::vector<std::string> build_command_line(const CommandLineInput& input);

// The kernel's own command line, the part of config.kernel_args last.
std::string build_kernel_args(const CommandLineInput& input);

// Names used in replies to query-blockstats.
std::string block_node_name(const std::string& disk_id);

}  // namespace hypervisor::qemu
