#pragma once

#include "base/fd.h"
#include "base/process.h"
#include "hypervisor/hypervisor.h"

namespace hypervisor::qemu {

// Maps a clone's memory in place of its own (hypervisor/qemu/shim/uffd_shim.cc), told how by the
// variable: "file <descriptor of the guest's memory> <descriptor of the saved memory>".
inline constexpr char kShimFile[] = "libuffd-shim.so";
inline constexpr char kShimVariable[] = "FCVM_UFFD_SHIM";

// A QEMU process and our ends of what it was given.
struct VmmProcess {
  base::ChildProcess child;  // dies with this thread (PDEATHSIG), and when destroyed
  base::Fd qmp;              // stream sockets
  base::Fd link;
  base::Fd console;
  base::Fd diagnostics;  // pipe: its stdout and stderr
  base::Fd memory;       // memfd of the guest's memory, sealed against a change of size
};

// Starts QEMU for `config`, whose accel is not kAuto. With private_mounts it gets a mount namespace
// of its own that receives mounts and unmounts of ours but sends none, with vm_dir bound at
// kVmDirInNamespace. Throws base::Error.
VmmProcess spawn_vmm(const MachineConfig& config, const std::string& program, bool private_mounts);

// `path` as the VMM sees it when vm_dir is bound at kVmDirInNamespace.
std::string path_in_namespace(const std::string& path, const std::string& vm_dir);

}  // namespace hypervisor::qemu
