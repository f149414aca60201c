#include "hypervisor/qemu/vmm_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "hypervisor/qemu/command_line.h"
#include "hypervisor/qemu/host.h"

namespace hypervisor::qemu {
namespace {

// What the child does between fork and exec. Everything it needs is made before the fork.
struct ChildSetup {
  bool private_mounts = false;
  std::string vm_dir;
  std::optional<cpu_set_t> cpus;

  // SAFETY: runs in the forked child: system calls only.
  int run() const {
    // A core file would hold the guest's memory.
    const rlimit none{0, 0};
    if (::setrlimit(RLIMIT_CORE, &none) != 0) return errno;
    if (cpus && ::sched_setaffinity(0, sizeof *cpus, &*cpus) != 0) return errno;
    if (!private_mounts) return 0;
    if (::unshare(CLONE_NEWNS) != 0) return errno;
    // Slave: an unmount on the host reaches the VMM, which would otherwise pin the file system.
    if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return errno;
    if (::mount(vm_dir.c_str(), kVmDirInNamespace, nullptr, MS_BIND, nullptr) != 0) return errno;
    return 0;
  }
};

base::Fd make_guest_memory(const MachineConfig& config) {
  base::Fd memory =
      base::make_memfd(base::cat("fcvm-", config.vm_id, "-memory"), config.mem_mib << 20);
  // QEMU may punch holes (balloon) but must never change the size under our mappings.
  if (::fcntl(memory.get(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) != 0) {
    base::throw_errno("sealing", "guest memory");
  }
  return memory;
}

// Opened for reading only: whatever the VMM does, the snapshot stays as it is.
base::Fd open_saved_memory(const MachineConfig& config) {
  base::Fd file = base::open_file(config.restore->memory, O_RDONLY);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) base::throw_errno("examining", config.restore->memory);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes != config.mem_mib << 20) {
    throw base::Error(base::cat("memory file ", base::quoted(config.restore->memory), " has ",
                                bytes, " bytes instead of ", config.mem_mib << 20));
  }
  return file;
}

std::vector<std::string> shim_environment(const InheritedFds& fds) {
  std::vector<std::string> environment;
  for (char** entry = ::environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with("LD_PRELOAD=")) environment.emplace_back(*entry);
  }
  environment.push_back(base::cat("LD_PRELOAD=", base::find_own_program(kShimFile)));
  environment.push_back(base::cat(kShimVariable, "=file ", fds.memory, " ", fds.saved_memory));
  return environment;
}

}  // namespace

std::string path_in_namespace(const std::string& path, const std::string& vm_dir) {
  if (!vm_dir.empty() && path.size() > vm_dir.size() && path.starts_with(vm_dir) &&
      path[vm_dir.size()] == '/') {
    return kVmDirInNamespace + path.substr(vm_dir.size());
  }
  return path;
}

VmmProcess spawn_vmm(const MachineConfig& config, const std::string& program, bool private_mounts) {
  CommandLineInput input;
  input.program = program;
  input.config = config;
  if (config.accel == Accel::kTcg) input.tsc_khz = host_tsc_khz().value_or(0);

  ChildSetup setup;
  setup.private_mounts = private_mounts && !config.vm_dir.empty();
  if (!config.cpuset.empty()) setup.cpus = parse_cpu_list(config.cpuset);
  if (setup.private_mounts) {
    setup.vm_dir = config.vm_dir;
    base::make_directories(kVmDirInNamespace, 0700);
    for (DiskConfig& disk : input.config.disks) {
      disk.path = path_in_namespace(disk.path, config.vm_dir);
    }
  }

  base::SocketPair qmp = base::make_socket_pair(SOCK_STREAM);
  base::SocketPair link = base::make_socket_pair(SOCK_STREAM);
  base::SocketPair console = base::make_socket_pair(SOCK_STREAM);
  base::Pipe diagnostics = base::make_pipe();
  base::Fd memory = make_guest_memory(config);

  base::SpawnOptions spawn;
  spawn.argv = build_command_line(input);
  spawn.fds = {{diagnostics.write.get(), 1},
               {diagnostics.write.get(), 2},
               {qmp.second.get(), input.fds.qmp},
               {link.second.get(), input.fds.link},
               {console.second.get(), input.fds.console},
               {memory.get(), input.fds.memory}};
  spawn.parent_death_signal = SIGKILL;
  spawn.before_exec = [&setup] { return setup.run(); };

  base::Fd saved_state;
  base::Fd saved_memory;
  if (config.restore) {
    saved_state = base::open_file(config.restore->state, O_RDONLY);
    saved_memory = open_saved_memory(config);
    spawn.fds.emplace_back(saved_state.get(), input.fds.saved_state);
    spawn.fds.emplace_back(saved_memory.get(), input.fds.saved_memory);
    spawn.env = shim_environment(input.fds);
  }

  VmmProcess vmm;
  vmm.child = base::ChildProcess::spawn(spawn);
  vmm.qmp = std::move(qmp.first);
  vmm.link = std::move(link.first);
  vmm.console = std::move(console.first);
  vmm.diagnostics = std::move(diagnostics.read);
  vmm.memory = std::move(memory);
  return vmm;
}

}  // namespace hypervisor::qemu
