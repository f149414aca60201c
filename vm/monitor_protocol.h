#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace vm {

// One request and one reply on wire::kRequestService of monitor.sock. Keys a side does not know are
// ignored, so a newer command still stops a VM of an older monitor.
struct MonitorRequest {
  enum class Op {
    kPing,
    kStop,     // stop signal, SIGKILL after timeout_s; answered when the VM has ended
    kKill,     // `signal` to the container's first process; answered by the guest
    kWait,     // answered when the VM has ended
    kTimings,  // answered at once
    kPause,    // answered when the vCPUs stand still
    kStats,    // answered by the guest and the VMM; a paused VM's with what was last known
    kUnpause,  // answered when they run and the guest's clock is right again
    kRestart,  // as kStop, then the VM is started again; answered when the container runs
    kHealth,   // checks the container's health; exit_code is 0 when it passed, else 1
    kSave,     // the VM's state, memory and disk to `directory`; answered when it runs again
    kRename,   // `name`; whoever asks holds the store's lock and has checked it
  };
  Op op = Op::kPing;
  int signal = 0;                // kKill; kStop: 0 is the VM's own stop signal
  std::optional<int> timeout_s;  // kStop, kRestart: absent is the VM's own
  bool even_paused = false;      // kStop: unpause a paused VM for it instead of refusing
  std::string name;              // kRename
  std::string directory{};       // kSave: exists and has none of the files
};

// What a VM uses. The container's numbers are the guest's word.
struct VmStats {
  std::uint64_t cpu_us = 0;  // of the container
  std::uint64_t mem_bytes = 0;
  std::uint64_t processes = 0;
  std::uint64_t read_bytes = 0;  // from block devices
  std::uint64_t written_bytes = 0;
  std::uint64_t vmm_cpu_us = 0;  // of the VMM process on the host
  std::uint64_t vmm_resident_bytes = 0;
};

struct MonitorReply {
  bool ok = true;
  std::string error;
  std::optional<int> exit_code;  // kStop, kWait, kHealth
  bool removed = false;          // kStop, kWait: the VM was run with --rm and is gone
  std::map<std::string, std::int64_t> timings_us;  // kTimings; kSave: how long each step took
  std::optional<VmStats> stats = std::nullopt;     // kStats
  std::uint64_t link_epoch = 0;                    // kSave: of the guest link
};

std::string to_json(const MonitorRequest& request);
std::string to_json(const MonitorReply& reply);
// Throw base::Error.
MonitorRequest parse_monitor_request(std::string_view json);
MonitorReply parse_monitor_reply(std::string_view json);

}  // namespace vm
