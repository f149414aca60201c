#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/process.h"

namespace vm {

// podman's words where it has them.
enum class VmStatus {
  kCreating,  // being made by a command; garbage once that command is gone
  kCreated,   // complete, never started
  kStarting,  // its monitor boots the VMM
  kRunning,
  kPaused,    // its vCPUs stand still; nothing in it can be asked
  kStopping,  // the container has ended or is being stopped; the VMM is going
  kExited,
  kRemoving,  // being deleted; garbage once nobody is at it
};
std::string_view to_string(VmStatus status);

struct HealthLogEntry {
  std::int64_t start_ns = 0;
  std::int64_t end_ns = 0;
  int exit_code = 0;
  std::string output;
};

// What the checks of a container's health have found (vm/monitor/health.h).
struct Health {
  std::string status;  // "starting", "healthy", "unhealthy"; empty: it has no check
  int failing_streak = 0;
  std::vector<HealthLogEntry> log;  // the last few, oldest first
};

// What is remembered of a VM: state/<id>.json. Its only writer is the VM's monitor while that lives;
// before and after it, whoever holds the record's lock.
struct VmRecord {
  static constexpr int kSchema = 1;
  static constexpr std::string_view kType = "vm";

  std::string id;  // 64 hexadecimal digits
  std::string name;
  VmStatus status = VmStatus::kCreating;
  std::int64_t created_ns = 0;  // since the epoch, as the next two; 0: not yet
  std::int64_t started_ns = 0;
  std::int64_t finished_ns = 0;
  std::optional<int> exit_code;
  bool oom_killed = false;
  std::string error;  // why it never ran or ended against its will

  base::ProcessId creator;  // the command that makes it (kCreating) or deletes it (kRemoving)
  base::ProcessId monitor;
  base::ProcessId vmm;

  std::string snapshot;           // the one it is a clone of, by tag; empty: it was booted
  bool runs_on_snapshot = false;  // its present life began there: its memory lies over that of it
  // A life was to begin there. Never again: what the memory knows of the disk may be wrong since.
  bool restore_begun = false;

  std::string image;  // as the user named it
  std::string image_digest;
  std::vector<std::string> command;  // entrypoint and arguments
  std::map<std::string, std::string> labels;
  std::string engine = "crun";  // what runs the container in the guest
  std::string hypervisor;
  std::string accel;
  std::string network = "none";
  unsigned cpus = 1;
  std::uint64_t mem_mib = 0;
  bool tty = false;
  bool open_stdin = false;
  bool auto_remove = false;
  int stop_signal = 15;
  int stop_timeout_s = 10;
  std::string restart_policy;  // podman's word for it; empty: none was asked for
  int restart_max = 0;         // of on-failure; 0: no limit
  int restart_count = 0;       // by the policy, since the VM was started
  Health health;
  // Microseconds from the creating command's start to each milestone of the start.
  std::map<std::string, std::int64_t> timings_us;

  bool has_monitor() const {
    return status == VmStatus::kStarting || status == VmStatus::kRunning ||
           status == VmStatus::kPaused || status == VmStatus::kStopping;
  }
};

std::string to_json(const VmRecord& record);
// Throws base::Error.
VmRecord parse_vm_record(std::string_view json);

}  // namespace vm
