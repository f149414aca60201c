// One interface over the programs that run microVMs (VMMs): QEMU now, Firecracker beside it. Above
// this folder nobody asks which one it is, only what it can do (Capabilities).
//
// Why Firecracker fits without a change here (docs/adr/0006-hypervisor-interface.md has the table):
// a machine is described once, before it starts, by values only, and nothing is added to it later
// (Firecracker refuses every PUT after InstanceStart); pause and resume are requests of their own
// (PATCH /vm); the balloon is told a target (PATCH /balloon); there is no call for a clean stop,
// for neither VMM has one that works for every guest: the agent powers the guest off.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/process.h"
#include "wire/link.h"

namespace hypervisor {

enum class Accel { kAuto, kKvm, kTcg };
const char* to_string(Accel accel);

// A virtio-blk disk on a raw image file.
struct DiskConfig {
  // The serial the guest reads in /sys/block/<disk>/serial: 1 to 20 of [A-Za-z0-9_-], unique in the
  // machine. 20 is VIRTIO_BLK_ID_BYTES of the virtio specification, 5.2.
  std::string id;
  std::string path;
  bool read_only = false;
  // The guest's flushes are acknowledged and dropped: for a disk nobody reads after the machine has
  // ended. A crash of the host (not of the VMM) may then lose what the guest believes is stored.
  bool discard_flushes = false;
};

// A machine that was saved: two files.
struct SavedMachine {
  std::string state;   // of its devices and vCPUs, in the VMM's own format
  std::string memory;  // the guest's, at its addresses; holes are zeroes
};

struct MachineConfig {
  std::string vm_id;   // [A-Za-z0-9_.-]; names the VMM in process lists
  std::string vm_dir;  // the machine's own folder; exists. Disks below it may be given by its path
  std::string kernel;  // uncompressed ELF vmlinux with a PVH note
  std::string initramfs;    // may be empty
  std::string kernel_args;  // appended to what the hypervisor itself needs on the command line
  unsigned vcpus = 1;
  std::uint64_t mem_mib = 512;
  std::vector<DiskConfig> disks;  // the guest finds them by id; their order means nothing
  bool balloon = true;
  Accel accel = Accel::kAuto;
  std::string cpuset;       // host CPUs the VMM may run on, "0-3,7"; empty: all
  std::string console_log;  // what the guest's kernel prints; rotated, at most kMaxConsoleLogBytes
  // From start() to the guest's hello on the guest link; then the machine is killed.
  std::chrono::milliseconds boot_deadline = std::chrono::seconds(60);
  // Of the guest link (wire::MuxOptions::epoch).
  std::uint64_t link_epoch = 1;
  // Begin where a machine was saved instead of with a kernel (kernel, initramfs and kernel_args then
  // mean nothing). vcpus, mem_mib, balloon, the disks and their order must be those of that machine,
  // the VMM of the same version. The machine stands still until the first resume(), which waits
  // until it is loaded. Both files are only read and must not change while the machine exists;
  // link_epoch must be higher than that of the machine that was saved.
  std::optional<SavedMachine> restore;
};

// The empty folder vm_dir is bound on; made when missing.
inline constexpr char kVmDirInNamespace[] = "/run/fcvm/vm";

// Both files (<console_log> and <console_log>.1) together.
inline constexpr std::size_t kMaxConsoleLogBytes = 2 << 20;

// What a hypervisor can do on this machine, and why it cannot.
struct Capabilities {
  std::string hypervisor;  // "qemu", "firecracker", "fake"
  std::string program;     // path of the VMM; empty when there is none
  bool usable = false;
  std::string why_not;  // set when not usable: one line
  std::string hint;     // set when not usable: what the user can do
  bool kvm = false;
  std::string kvm_why_not;
  std::string kvm_hint;  // set when kvm is not there: what the user can do
  bool tcg = false;
  std::string tcg_why_not;
  bool balloon = false;
  bool discard_flushes = false;  // DiskConfig::discard_flushes is honoured, not merely accepted
  bool block_stats = false;      // MachineStats::disks is filled
  bool snapshots = false;        // save() and MachineConfig::restore work
  std::string snapshots_why_not;
  // The VMM gets a mount namespace of its own in which vm_dir is at kVmDirInNamespace, so that paths
  // in its saved state are the same for every machine. Needs CAP_SYS_ADMIN; without it the VMM
  // shares our mounts and sees vm_dir where it is.
  bool private_mounts = false;
  unsigned max_vcpus = 1;

  // What Accel::kAuto becomes.
  Accel best_accel() const { return kvm ? Accel::kKvm : Accel::kTcg; }
};

struct DiskStats {
  std::string id;
  std::uint64_t read_bytes = 0;
  std::uint64_t written_bytes = 0;
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;
};

struct MachineStats {
  std::chrono::microseconds vcpu_time{0};  // of all vCPU threads since the start
  std::chrono::microseconds vmm_time{0};   // of the whole VMM, vCPUs included
  std::uint64_t guest_mem_bytes = 0;       // configured
  std::uint64_t balloon_bytes = 0;         // of them now in the balloon
  std::uint64_t resident_bytes = 0;        // host memory that backs the guest's now
  std::vector<DiskStats> disks;
};

// How a machine ended.
struct MachineExit {
  enum class Reason {
    kGuestShutdown,  // the guest powered itself off
    kGuestReset,     // the guest rebooted, which ends the machine
    kGuestPanic,     // its kernel panicked
    kQuit,           // quit()
    kKilled,         // kill()
    kBootTimeout,    // no hello on the guest link before boot_deadline
    kVmmFailed,  // the VMM did not start, crashed, was killed by somebody, or broke its protocol
  };
  Reason reason = Reason::kVmmFailed;
  std::string detail;  // one line for the user: why, with the VMM's last words where it has any
  std::string console_tail;  // the last lines the guest printed, at most kConsoleTailBytes
  base::ExitStatus vmm_status;
};
const char* to_string(MachineExit::Reason reason);
inline constexpr std::size_t kConsoleTailBytes = 16 * 1024;

enum class MachineState { kStarting, kRunning, kPaused, kEnded };
const char* to_string(MachineState state);

using Completion = std::function<void(base::Result<void>)>;
using StatsCompletion = std::function<void(base::Result<MachineStats>)>;

struct MachineEvents {
  // Called once, from the event loop, when the VMM has ended and was reaped; the last call. Every
  // operation under way has completed with an error before it. What the guest sent before its end
  // has been delivered by the guest link, which is down by then (unless it was given no handler, or
  // takes more than a second). May destroy the machine.
  std::function<void(const MachineExit&)> on_exit;
};

// A microVM and its VMM process, which it owns: destroying the machine kills the VMM (SIGKILL),
// reaps it, and calls nothing back. Belongs to the event loop's thread. Nothing here waits:
// operations complete on the event loop, exactly once, at the latest at `deadline` with
// Error(ETIMEDOUT), and never inside the call that started them. Callbacks may destroy the machine.
class Machine {
 public:
  virtual ~Machine() = default;

  virtual MachineState state() const = 0;
  // The VMM process; 0 when it is in this process (the fake) or has ended.
  virtual pid_t vmm_pid() const = 0;

  // The host's end of the guest link; to be taken once, right after the start. The boot watchdog
  // is satisfied when it becomes ready, so it must be given a handler. It may outlive the machine.
  virtual std::unique_ptr<wire::Link> take_guest_link() = 0;

  // The vCPUs stand still (or run again) when it completes. Pausing a paused machine succeeds.
  // Before the VMM is ready the request waits for it.
  virtual void pause(std::chrono::milliseconds deadline, Completion done) = 0;
  virtual void resume(std::chrono::milliseconds deadline, Completion done) = 0;

  // Asks the guest to get along with `mem_mib` of its memory; completes when the target is set, not
  // when it is reached (stats() tells). Above the configured memory means all of it.
  virtual void set_balloon_target(std::uint64_t mem_mib, std::chrono::milliseconds deadline,
                                  Completion done) = 0;

  // Writes the device state of a paused machine to `state`, an empty file open for writing. The
  // machine stays paused, its disks flushed, until resume() or its end. The guest link must be at
  // rest (wire::Link::suspend), or a clone would not know where its bytes begin.
  virtual void save(base::Fd state, std::chrono::milliseconds deadline, Completion done) = 0;
  // The guest's memory as a file of mem_mib, to be copied while the machine is paused. nullptr when
  // its memory is not in one place: that of a restored machine lies over the file it came from.
  virtual const base::Fd* memory_file() const = 0;

  virtual void stats(std::chrono::milliseconds deadline, StatsCompletion done) = 0;

  // The VMM ends in good order (its caches written, its files closed) without asking the guest:
  // for a guest that has flushed and says it is done, or one that is not to be saved. At `deadline`
  // it is killed. on_exit follows with kQuit, or what came first.
  virtual void quit(std::chrono::milliseconds deadline) = 0;
  // SIGKILL; on_exit follows with kKilled.
  virtual void kill() = 0;

  // What the guest printed last, at most kConsoleTailBytes.
  virtual std::string console_tail() const = 0;
};

class Hypervisor {
 public:
  virtual ~Hypervisor() = default;

  // Looks at this machine each time: cheap (opens devices, starts nothing), blocks for
  // milliseconds at most.
  virtual Capabilities probe() const = 0;

  // "7.2.22 (Debian …)". Runs the VMM with its version flag and waits for it; throws base::Error.
  virtual std::string version() const = 0;

  // What must be the same where a machine that was saved here is restored, by name ("hypervisor",
  // "CPU", …). Runs the VMM with its version flag; throws base::Error.
  virtual std::map<std::string, std::string> snapshot_requirements(Accel accel) const = 0;

  // Starts the VMM without a guest and ends it again: empty when it could, else why not, in one
  // line. Takes a tenth of a second.
  virtual std::string why_not_starting(Accel accel) const = 0;

  // Starts the VMM and returns while the guest boots. What can be known beforehand throws
  // base::Error (a bad configuration, a missing file, no such accelerator); the rest comes by
  // on_exit. `loop` must outlive the machine.
  virtual std::unique_ptr<Machine> start(base::EventLoop& loop, MachineConfig config,
                                         MachineEvents events) const = 0;
};

// Throws base::Error for a machine no VMM could make: an empty or overlong name, no memory, disk ids
// that are malformed or used twice. Every implementation of start() calls it.
void check_config(const MachineConfig& config, const Capabilities& capabilities);

// `choice` is "auto" or a hypervisor's name. Throws base::Error for a name this build has not.
std::unique_ptr<Hypervisor> make_hypervisor(const std::string& choice);

}  // namespace hypervisor
