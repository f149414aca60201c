#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "image/image_store.h"
#include "image/progress.h"
#include "storage/data_directory.h"
#include "vm/monitor_protocol.h"
#include "vm/run_options.h"
#include "vm/vm_record.h"
#include "vm/vm_store.h"

namespace base {
class Cancellation;
}

namespace vm {

// How a stop or a removal went.
struct EndResult {
  std::optional<int> exit_code;
  bool removed = false;  // the VM was run with --rm and is gone by now
};

// What commands do with VMs. One object per command; every command begins by making one, which
// reconciles records with reality (vm_store.h). Blocks; not for several threads. Everything throws
// base::Error.
class VmManager {
 public:
  explicit VmManager(const storage::DataDirectory& data);

  const VmStore& store() const { return store_; }

  // All VMs but those half-made or half-removed, oldest first.
  std::vector<VmRecord> list() const;
  // The VM with this name, id, unique prefix of an id (or none: an error), or monitor pid, in this
  // order.
  VmRecord find(std::string_view name) const;
  // The same, and nothing when nobody has it. Throws for a prefix that several IDs have.
  std::optional<VmRecord> try_find(std::string_view name) const;

  // Checks everything that can be known beforehand, then makes the VM: record, disk, bundle. It is
  // removed again by the next command if this process dies before start().
  VmRecord create(const RunOptions& options, const image::ImageDisk& image);
  // The record of a VM that is being made, under its name or, where it has none, one made up for it,
  // which nobody else has.
  VmRecord reserve(VmRecord record);
  // Starts the monitor of a VM made by create(), and returns a connection to it, which must be used
  // to attach (wire::ProcessStart, kContainer) or be closed: the container starts after that.
  // `command_start_ns` is the CLOCK_MONOTONIC time its milestones count from; 0: no milestones.
  base::Fd start(const VmRecord& record, std::int64_t command_start_ns);
  // The same for a VM that may have run before; waits until the container runs, attached to nothing.
  // An error when it does not run in the end. A VM that has a monitor is left alone.
  void start_detached(const VmRecord& record);
  // Says that a VM made by create() is complete: it stays, without being started.
  void keep_created(VmRecord record);
  // Stops a running VM and starts it again with what is on its disk; starts another.
  void restart(const VmRecord& record, std::optional<int> timeout_s);
  void rename(const VmRecord& record, const std::string& name);
  // A connection to the monitor of a VM that has one; an error "is exited, not running" otherwise.
  base::Fd connect(const VmRecord& record) const;

  // `timeout_s` absent: the VM's own. Returns when the VM has ended; at once when it had already. A
  // paused VM is refused unless `even_paused`: then it is unpaused for it.
  EndResult stop(const VmRecord& record, std::optional<int> timeout_s,
                 bool even_paused = false) const;
  void kill(const VmRecord& record, int signal) const;
  // Its vCPUs stand still when pause() returns; unpause() sets the guest's clock.
  void pause(const VmRecord& record) const;
  void unpause(const VmRecord& record) const;
  // Runs the health check of a running VM's container; true when it passed.
  bool check_health(const VmRecord& record) const;
  // Waits until the VM is in one of these conditions: "created", "running", "paused", "exited" (or
  // "stopped"), "healthy", "unhealthy". Its exit code when it has ended, else -1, as podman. An
  // error when the VM has ended and was to do something else.
  int wait_until(const VmRecord& record, const std::vector<std::string>& conditions) const;
  // What a VM that runs or is paused uses.
  VmStats stats(const VmRecord& record) const;
  // Its exit code, once it has ended.
  int wait(const VmRecord& record, const base::Cancellation* cancellation = nullptr) const;
  // With `force` a running VM is stopped first; without it that is an error.
  void remove(const VmRecord& record, bool force, std::optional<int> timeout_s);
  // Ids of VMs whose records are damaged: they can only be removed.
  std::vector<std::string> damaged() const { return store_.damaged(); }
  // By its id or at least the 12 digits of it that fcvm prints; false when there is no such VM.
  bool remove_damaged(std::string_view name) const;

  // The process object for `exec` in this VM's container (vm/bundle.h).
  std::string exec_process(const VmRecord& record, const ExecOptions& options) const;
  // The `inspect` document, one JSON object.
  std::string inspect(const VmRecord& record) const;

 private:
  EndResult end_of(const VmRecord& record) const;
  bool name_taken(const std::string& name) const;
  void check_name(const std::string& name) const;

  VmStore store_;
};

// "adjective_noun", for a VM without a name.
std::string random_name();
// Of an even number of digits. Throws base::Error.
std::string random_hex(std::size_t digits);

}  // namespace vm
