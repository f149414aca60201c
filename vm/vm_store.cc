#include "vm/vm_store.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <utility>

#include "base/fault_point.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "storage/staging.h"
#include "vm/clock.h"
#include "vm/launch_plan.h"

namespace vm {

VmPaths::VmPaths(const storage::DataDirectory& data, const std::string& id)
    : disks(data.vm_disk(id)),
      root_disk(disks + "/disk.raw"),
      launch_plan(disks + "/" + kLaunchPlanFile),
      exec_base(disks + "/exec.json"),
      log(disks + "/ctr.log"),
      console_log(disks + "/console.log"),
      monitor_log(disks + "/monitor.log"),
      run(data.vm_run(id)),
      monitor_socket(run + "/monitor.sock") {}

VmStore::VmStore(const storage::DataDirectory& data)
    : data_(data), records_(data.state(), std::string(VmRecord::kType), VmRecord::kSchema) {}

base::Result<VmRecord> VmStore::read(const std::string& id) const {
  auto record = records_.read(id);
  if (!record.ok()) return record.error();
  try {
    return parse_vm_record(record.value().json);
  } catch (const base::Error& error) {
    return error;
  }
}

std::vector<VmRecord> VmStore::list(std::vector<state::Problem>& problems) const {
  state::Listing listing = records_.list();
  problems = std::move(listing.problems);
  std::vector<VmRecord> vms;
  for (const auto& record : listing.records) {
    try {
      vms.push_back(parse_vm_record(record.json));
    } catch (const base::Error& error) {
      problems.push_back({record.id, state::Problem::Kind::kDamaged,
                          base::cat("record of VM ", base::quoted(record.id), ": ", error.what())});
    }
  }
  std::stable_sort(vms.begin(), vms.end(), [](const VmRecord& a, const VmRecord& b) {
    return a.created_ns < b.created_ns;
  });
  return vms;
}

std::vector<VmRecord> VmStore::list() const {
  std::vector<state::Problem> problems;
  std::vector<VmRecord> vms = list(problems);
  for (const auto& problem : problems) base::log_warn(problem.reason);
  return vms;
}

std::vector<std::string> VmStore::damaged() const {
  std::vector<std::string> ids = records_.set_aside();
  std::vector<state::Problem> problems;
  list(problems);
  for (const auto& problem : problems) {
    const bool known = std::find(ids.begin(), ids.end(), problem.id) != ids.end();
    if (problem.kind == state::Problem::Kind::kDamaged && !known) ids.push_back(problem.id);
  }
  return ids;
}

void VmStore::create(const VmRecord& record) const {
  records_.create(record.id, to_json(record));
}

void VmStore::update(const state::RecordLock& lock, const VmRecord& record, bool durable) const {
  records_.update(lock, to_json(record), durable);
}

void VmStore::destroy(state::RecordLock lock, VmRecord record) const {
  // The mark first: whoever finds it after a crash goes on from here.
  record.status = VmStatus::kRemoving;
  record.creator = base::identify_process(::getpid()).value_or(base::ProcessId{});
  try {
    update(lock, record);
  } catch (const base::Error& error) {
    // On a full disk the mark cannot be written; removing is what makes room.
    base::log_warn(base::cat("marking VM ", base::quoted(record.name), ": ", error.what()));
  }
  const VmPaths at = paths(record.id);
  base::fault_point("destroy.marked");
  base::remove_tree(at.run);
  base::fault_point("destroy.run");
  base::remove_tree(at.disks);
  base::fault_point("destroy.disks");
  // One that was damaged before somebody put it right again.
  records_.remove_set_aside(lock);
  records_.remove(std::move(lock));
}

void VmStore::destroy_damaged(state::RecordLock lock) const {
  const VmPaths at = paths(lock.id());
  base::remove_tree(at.run);
  base::remove_tree(at.disks);
  records_.remove_set_aside(lock);
  records_.remove(std::move(lock));
}

namespace {

// What has to be done about a VM, judged from its record alone.
enum class Verdict { kFine, kMonitorDied, kAbandoned };

Verdict judge(const VmRecord& record) {
  switch (record.status) {
    case VmStatus::kCreating:
    case VmStatus::kRemoving:
      return base::process_alive(record.creator) ? Verdict::kFine : Verdict::kAbandoned;
    case VmStatus::kStarting:
    case VmStatus::kRunning:
    case VmStatus::kPaused:
    case VmStatus::kStopping:
      return base::process_alive(record.monitor) ? Verdict::kFine : Verdict::kMonitorDied;
    case VmStatus::kCreated:
    case VmStatus::kExited:
      return Verdict::kFine;
  }
  return Verdict::kFine;
}

constexpr std::chrono::seconds kVmmDeathLimit{5};

void bury(const VmStore& store, state::RecordLock lock, VmRecord record) {
  // The VMM and the helpers died with the monitor (PDEATHSIG), or are about to. A VMM that cannot
  // die (its disk hangs) must not keep every command waiting.
  if (const base::Fd vmm = base::open_process(record.vmm)) {
    base::send_signal(vmm, SIGKILL);
    base::wait_for(vmm.get(), POLLIN, kVmmDeathLimit);
  }
  if (record.auto_remove) {
    store.destroy(std::move(lock), std::move(record));
    return;
  }
  base::remove_tree(store.paths(record.id).run);
  record.status = VmStatus::kExited;
  record.error = "its monitor was killed";
  if (!record.exit_code) record.exit_code = 128 + SIGKILL;
  if (record.finished_ns == 0) record.finished_ns = wall_clock_ns();
  store.update(lock, record);
}

// Folders in `parent` that no record names.
void sweep_folders(const VmStore& store, const std::string& parent,
                   std::vector<std::string>& done) {
  for (const auto& name : base::list_directory(parent)) {
    if (!state::is_valid_id(name) || store.records().may_be_known(name)) continue;
    try {
      base::remove_tree(parent + "/" + name);
    } catch (const base::Error& error) {
      base::log_warn(error.what());
      continue;
    }
    done.push_back(base::cat("removed ", base::quoted(parent + "/" + name), ", which no VM owns"));
  }
}

// Damaged records out of the way, which leaves what belongs to them alone; and what writers left.
void tidy_records(const state::Store& records, const std::vector<state::Problem>& problems) {
  try {
    const bool damaged =
        std::any_of(problems.begin(), problems.end(), [](const state::Problem& problem) {
          return problem.kind == state::Problem::Kind::kDamaged;
        });
    for (const auto& id : damaged ? records.repair() : std::vector<std::string>{}) {
      base::log_warn(base::cat("the record of VM ", id, " is damaged; 'fcvm rm ", id,
                               "' removes what is left of it"));
    }
    records.sweep();
  } catch (const base::Error& error) {
    base::log_warn(error.what());
  }
}

}  // namespace

std::vector<std::string> reconcile(const VmStore& store) {
  std::vector<std::string> done;
  std::vector<state::Problem> problems;
  const std::vector<VmRecord> vms = store.list(problems);
  tidy_records(store.records(), problems);
  for (const auto& seen : vms) {
    if (judge(seen) == Verdict::kFine) continue;
    auto lock = store.records().try_lock_record(seen.id);
    if (!lock) continue;
    // Once more under the lock: somebody may have dealt with it.
    auto record = store.read(seen.id);
    if (!record.ok()) {
      // Removed meanwhile: only the lock's file is left, made anew by taking it.
      if (record.error().errnum() == ENOENT) store.records().remove(std::move(*lock));
      continue;
    }
    const Verdict verdict = judge(record.value());
    if (verdict == Verdict::kFine) continue;
    const std::string name = base::quoted(seen.name);
    // One VM that cannot be dealt with (a full disk, say) must not keep commands from the others.
    try {
      if (verdict == Verdict::kAbandoned) {
        store.destroy(std::move(*lock), std::move(record).value());
        done.push_back(base::cat("removed VM ", name, ", left half-made or half-removed"));
      } else {
        bury(store, std::move(*lock), std::move(record).value());
        done.push_back(base::cat("VM ", name, ": its monitor was killed"));
      }
    } catch (const base::Error& error) {
      base::log_warn(base::cat("VM ", name, ": ", error.what()));
    }
  }
  // Without the store's lock a folder could belong to a VM whose record came after the listing;
  // records come first, so looking at the record after the folder is enough.
  sweep_folders(store, store.data().vm_disks(), done);
  sweep_folders(store, store.data().run(), done);
  if (const int snapshots = storage::sweep_stale(store.data().snapshots()); snapshots != 0) {
    done.push_back(base::cat("removed ", snapshots, " half-made or half-removed snapshots"));
  }
  for (const auto& line : done) base::log_info(line);
  return done;
}

}  // namespace vm
