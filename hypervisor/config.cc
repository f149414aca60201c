#include <algorithm>
#include <set>

#include "base/error.h"
#include "hypervisor/hypervisor.h"

namespace hypervisor {
namespace {

constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxDiskIdBytes = 20;        // VIRTIO_BLK_ID_BYTES
constexpr std::size_t kMaxKernelArgsBytes = 1024;  // COMMAND_LINE_SIZE is 2048 on x86 and arm64
// Below this the distribution's kernel does not get as far as its first process.
constexpr std::uint64_t kMinMemMib = 64;
constexpr std::uint64_t kMaxMemMib = 1 << 20;

bool is_word(std::string_view text, std::string_view extra) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           extra.find(c) != std::string_view::npos;
  });
}

}  // namespace

const char* to_string(Accel accel) {
  switch (accel) {
    case Accel::kAuto:
      return "auto";
    case Accel::kKvm:
      return "kvm";
    case Accel::kTcg:
      return "tcg";
  }
  return "unknown";
}

const char* to_string(MachineExit::Reason reason) {
  switch (reason) {
    case MachineExit::Reason::kGuestShutdown:
      return "guest-shutdown";
    case MachineExit::Reason::kGuestReset:
      return "guest-reset";
    case MachineExit::Reason::kGuestPanic:
      return "guest-panic";
    case MachineExit::Reason::kQuit:
      return "quit";
    case MachineExit::Reason::kKilled:
      return "killed";
    case MachineExit::Reason::kBootTimeout:
      return "boot-timeout";
    case MachineExit::Reason::kVmmFailed:
      return "vmm-failed";
  }
  return "unknown";
}

const char* to_string(MachineState state) {
  switch (state) {
    case MachineState::kStarting:
      return "starting";
    case MachineState::kRunning:
      return "running";
    case MachineState::kPaused:
      return "paused";
    case MachineState::kEnded:
      return "ended";
  }
  return "unknown";
}

void check_config(const MachineConfig& config, const Capabilities& capabilities) {
  using base::cat;
  using base::Error;
  using base::quoted;
  if (config.vm_id.size() > kMaxNameBytes || !is_word(config.vm_id, "_.-")) {
    throw Error(cat("malformed VM id ", quoted(config.vm_id)));
  }
  if (config.vcpus < 1 || config.vcpus > capabilities.max_vcpus) {
    throw Error(cat(config.vcpus, " vCPUs: ", capabilities.hypervisor, " takes 1 to ",
                    capabilities.max_vcpus));
  }
  if (config.mem_mib < kMinMemMib || config.mem_mib > kMaxMemMib) {
    throw Error(
        cat(config.mem_mib, " MiB of memory: a microVM takes ", kMinMemMib, " to ", kMaxMemMib));
  }
  if (config.restore) {
    if (!capabilities.snapshots) {
      throw Error(cat("a snapshot cannot be restored: ", capabilities.snapshots_why_not));
    }
  } else if (config.kernel.empty()) {
    throw Error("no kernel named");
  }
  if (config.kernel_args.size() > kMaxKernelArgsBytes ||
      std::any_of(config.kernel_args.begin(), config.kernel_args.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20; })) {
    throw Error(cat("malformed kernel arguments ", quoted(config.kernel_args.substr(0, 80))));
  }
  std::set<std::string_view> ids;
  for (const DiskConfig& disk : config.disks) {
    if (disk.id.size() > kMaxDiskIdBytes || !is_word(disk.id, "_-")) {
      throw Error(cat("malformed disk id ", quoted(disk.id)));
    }
    if (!ids.insert(disk.id).second) throw Error(cat("two disks have the id ", quoted(disk.id)));
  }
}

}  // namespace hypervisor
