#include "hypervisor/qemu/qemu.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "hypervisor/host_cpu.h"
#include "hypervisor/qemu/host.h"
#include "hypervisor/qemu/machine.h"
#include "hypervisor/qemu/vmm_process.h"

namespace hypervisor::qemu {
namespace {

// QEMU's microvm allows 288; what is emulated beyond the host's CPUs only gets slower.
constexpr unsigned kMaxVcpus = 288;
constexpr char kInstallHint[] = "install the package qemu-system-x86";

bool has_sys_admin() {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
  if (::syscall(SYS_capget, &header, data.data()) != 0) return false;
  return (data[CAP_SYS_ADMIN / 32].effective & (1U << (CAP_SYS_ADMIN % 32))) != 0;
}

void check_readable(const std::string& what, const std::string& path, int mode) {
  if (::access(path.c_str(), mode) != 0) base::throw_errno(base::cat("opening the ", what), path);
}

// QEMU says "Error loading uncompressed kernel without PVH ELF Note" for anything else.
void check_kernel(const std::string& path) {
  const base::Fd file = base::open_file(path, O_RDONLY);
  std::array<char, 4> magic{};
  if (::pread(file.get(), magic.data(), magic.size(), 0) != 4 ||
      std::string_view(magic.data(), 4) != "\177ELF") {
    base::Error error(base::cat("kernel ", base::quoted(path), " is no uncompressed ELF vmlinux"));
    error.set_hint("name a vmlinux, not a bzImage");
    throw error;
  }
}

class Qemu final : public Hypervisor {
 public:
  explicit Qemu(QemuOptions options) : options_(std::move(options)) {}

  Capabilities probe() const override {
    Capabilities can;
    can.hypervisor = "qemu";
    can.program = base::find_program(options_.program);
    can.usable = !can.program.empty();
    const KvmFacts kvm = probe_kvm();
    can.kvm_why_not = why_no_kvm(kvm);
    can.kvm_hint = how_to_get_kvm(kvm);
    if (!can.usable) {
      can.why_not = base::cat(options_.program, " is not installed");
      can.hint = kInstallHint;
      can.tcg_why_not = can.why_not;
      if (can.kvm_why_not.empty()) {
        can.kvm_why_not = can.why_not;
        can.kvm_hint = can.hint;
      }
    }
    can.kvm = can.kvm_why_not.empty();
    can.tcg = can.usable;
    can.balloon = true;
    can.discard_flushes = true;
    can.block_stats = true;
    try {
      base::find_own_program(kShimFile);
      can.snapshots = true;
    } catch (const base::Error& error) {
      can.snapshots_why_not = error.what();
    }
    can.private_mounts = has_sys_admin();
    can.max_vcpus = kMaxVcpus;
    return can;
  }

  std::string version() const override {
    const Capabilities can = probe();
    require_usable(can);
    base::SpawnOptions spawn;
    spawn.argv = {can.program, "--version"};
    base::CommandOptions options;
    options.timeout = std::chrono::seconds(30);
    std::string out = base::run_command_checked(std::move(spawn), options).out;
    out.resize(std::min(out.find('\n'), out.size()));
    constexpr std::string_view kPrefix = "QEMU emulator version ";
    if (out.starts_with(kPrefix)) out.erase(0, kPrefix.size());
    return out;
  }

  std::map<std::string, std::string> snapshot_requirements(Accel accel) const override {
    std::map<std::string, std::string> facts{{"hypervisor", "qemu " + version()},
                                             {"accelerator", to_string(accel)}};
    const HostCpu cpu = host_cpu();
    facts["architecture"] = cpu.machine;
    if (accel == Accel::kKvm) {
      facts["CPU"] = cpu.model;
    } else {
      // Its clock counts the host's TSC, at the frequency it was told when it booted.
      facts["TSC"] = base::cat((host_tsc_khz().value_or(0) + 500) / 1000, " MHz");
    }
    return facts;
  }

  std::string why_not_starting(Accel accel) const override {
    const Capabilities can = probe();
    if (!can.usable) return can.why_not;
    if (accel == Accel::kAuto) accel = can.best_accel();
    base::SpawnOptions spawn;
    spawn.argv = {can.program,
                  "-machine",
                  base::cat("microvm,accel=", to_string(accel)),
                  "-nodefaults",
                  "-no-user-config",
                  "-display",
                  "none",
                  "-m",
                  "32",
                  "-S",
                  "-qmp",
                  "stdio"};
    base::Pipe commands = base::make_pipe();
    base::write_all(commands.write, R"({"execute":"qmp_capabilities"}{"execute":"quit"})");
    commands.write.reset();
    spawn.fds = {{commands.read.get(), 0}};
    spawn.parent_death_signal = SIGKILL;
    base::CommandOptions options;
    options.timeout = std::chrono::seconds(30);
    try {
      base::run_command_checked(std::move(spawn), options);
    } catch (const base::Error& error) {
      return error.what();
    }
    return {};
  }

  std::unique_ptr<Machine> start(base::EventLoop& loop, MachineConfig config,
                                 MachineEvents events) const override {
    const Capabilities can = probe();
    require_usable(can);
    check_config(config, can);
    if (config.accel == Accel::kAuto) config.accel = can.best_accel();
    if (config.accel == Accel::kKvm && !can.kvm) {
      base::Error error(base::cat("kvm cannot be used: ", can.kvm_why_not));
      error.set_hint("leave --accel out, or use --accel tcg");
      throw error;
    }
    if (!config.restore) {
      check_kernel(config.kernel);
      if (!config.initramfs.empty()) check_readable("initramfs", config.initramfs, R_OK);
    }
    for (const DiskConfig& disk : config.disks) {
      check_readable("disk", disk.path, disk.read_only ? R_OK : R_OK | W_OK);
    }
    return start_machine(loop, can, std::move(config), std::move(events));
  }

 private:
  void require_usable(const Capabilities& can) const {
    if (can.usable) return;
    base::Error error(can.why_not);
    error.set_hint(can.hint);
    throw error;
  }

  QemuOptions options_;
};

}  // namespace

std::unique_ptr<Hypervisor> make_qemu(QemuOptions options) {
  return std::make_unique<Qemu>(std::move(options));
}

}  // namespace hypervisor::qemu
