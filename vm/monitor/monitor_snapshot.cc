// Saving the VM while it runs, and beginning a life where another was saved.
//
//   quiesce ─> link at rest ─> pause ─> device state ─> disk and memory ─> resume ─> link ─> thaw
//
// What fails at any step goes on from there with what undoes the steps before it.
#include <fcntl.h>
#include <sys/random.h>

#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/log.h"
#include "storage/reflink.h"
#include "storage/sparse_copy.h"
#include "vm/clock.h"
#include "vm/guest_paths.h"
#include "vm/monitor/monitor.h"
#include "vm/snapshot/saved_files.h"
#include "vm/snapshot/snapshot.h"

namespace vm {
namespace {

using std::chrono::seconds;

// The guest writes out what it holds of its disk.
constexpr seconds kQuiesceDeadline{120};
constexpr seconds kRestDeadline{30};
constexpr seconds kMachineDeadline{30};
constexpr seconds kStateDeadline{60};
constexpr std::chrono::milliseconds kGoOnInterval{200};
constexpr seconds kIdentifyDeadline{60};
constexpr seconds kRestoreDeadline{60};
constexpr std::size_t kEntropyBytes = 256;

std::string failure(const std::string& why) {
  MonitorReply reply;
  reply.ok = false;
  reply.error = why;
  return to_json(reply);
}

std::string error_of(const base::Result<wire::ControlReply>& result) {
  if (!result.ok()) return result.error().what();
  return result.value().ok ? "" : result.value().error;
}

base::Fd new_file(const std::string& path) {
  return base::open_file(path, O_RDWR | O_CREAT | O_EXCL, 0600);
}

}  // namespace

struct Monitor::Saving {
  Reply reply;
  std::string directory;
  MonitorReply answer;
  bool quiesced = false;
  bool at_rest = false;
  bool paused = false;
  base::EventLoop::Clock::time_point step_began = base::EventLoop::Clock::now();
  base::EventLoop::Clock::time_point pause_began{};
  base::EventLoop::Clock::time_point give_up{};
  base::EventLoop::Registration next_try;
  std::thread copier;

  ~Saving() {
    if (copier.joinable()) copier.join();
  }
  std::string path(const char* file) const { return directory + "/" + file; }
  void note(const std::string& step) {
    const auto now = base::EventLoop::Clock::now();
    const auto took = now - std::exchange(step_began, now);
    answer.timings_us[step] = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  }
};

void Monitor::save_to(const std::string& text, const MonitorRequest& request, const Reply& reply) {
  if (must_wait()) {
    early_requests_.emplace_back(text, reply);
    return;
  }
  if (record_.status != VmStatus::kRunning || stopping_ || container_over_ || !machine_) {
    const auto status = stopping_ ? VmStatus::kStopping : record_.status;
    reply(failure(base::cat("it is ", to_string(status), ", not running")));
    return;
  }
  if (machine_->memory_file() == nullptr) {
    reply(failure("it is a clone, and a clone cannot be saved"));
    return;
  }
  for (const auto& disk : plan_.disks) {
    if (disk.read_only || disk.id == "root") continue;
    reply(failure(base::cat("its disk ", base::quoted(disk.path),
                            " is no part of a snapshot, and cannot have two writers")));
    return;
  }
  saving_ = std::make_shared<Saving>();
  saving_->reply = reply;
  saving_->directory = request.directory;
  saving_->answer.link_epoch = restored_ ? plan_.restore->link_epoch : 1;
  wire::ControlRequest quiesce;
  quiesce.op = wire::ControlRequest::Op::kQuiesce;
  guest_->control(
      quiesce, kQuiesceDeadline,
      [this, weak = std::weak_ptr(saving_)](const base::Result<wire::ControlReply>& result) {
        if (weak.expired()) return;
        // One that came too late has frozen the container all the same.
        saving_->quiesced = !result.ok() || result.value().ok;
        saving_->note("quiesce");
        const std::string error = error_of(result);
        if (!error.empty()) {
          go_on_after_saving(base::cat("quiescing the container: ", error));
          return;
        }
        next_saving_step("save.quiesced", &Monitor::bring_to_rest);
      });
}

void Monitor::bring_to_rest() {
  saving_->at_rest = true;
  guest_->suspend(
      kRestDeadline, [this, weak = std::weak_ptr(saving_)](const base::Result<void>& result) {
        if (weak.expired()) return;
        if (!result.ok()) {
          go_on_after_saving(result.error().what());
          return;
        }
        saving_->note("rest");
        saving_->pause_began = saving_->step_began;
        saving_->paused = true;
        machine_->pause(kMachineDeadline, [this, weak](const base::Result<void>& paused) {
          if (weak.expired()) return;
          if (!paused.ok()) {
            go_on_after_saving(paused.error().what());
            return;
          }
          next_saving_step("save.paused", &Monitor::write_snapshot);
        });
      });
}

void Monitor::write_snapshot() {
  machine_->save(new_file(saving_->path(kSnapshotStateFile)), kStateDeadline,
                 [this, weak = std::weak_ptr(saving_)](const base::Result<void>& saved) {
                   if (weak.expired()) return;
                   if (!saved.ok()) {
                     go_on_after_saving(saved.error().what());
                     return;
                   }
                   saving_->note("state");
                   next_saving_step("save.state", &Monitor::copy_memory);
                 });
}

// In a thread: the guest stands still, but clients do not.
void Monitor::copy_memory() {
  const auto memory = std::make_shared<base::Fd>(base::duplicate(*machine_->memory_file()));
  const auto copy = [this, weak = std::weak_ptr(saving_), memory, disk = paths_.root_disk,
                     to_disk = saving_->path(kSnapshotDiskFile),
                     to_memory = saving_->path(kSnapshotMemoryFile)] {
    std::string error;
    auto disk_done = base::EventLoop::Clock::now();
    try {
      storage::reflink_or_copy(disk, to_disk);
      disk_done = base::EventLoop::Clock::now();
      storage::copy_sparse(*memory, new_file(to_memory));
    } catch (const std::exception& failed) {
      error = failed.what();
    }
    loop_.post([this, weak, error, disk_done] {
      if (weak.expired()) return;
      saving_->copier.join();
      const auto began = saving_->step_began;
      saving_->note("memory");
      const auto disk_took =
          std::chrono::duration_cast<std::chrono::microseconds>(disk_done - began).count();
      saving_->answer.timings_us["disk"] = disk_took;
      saving_->answer.timings_us["memory"] -= disk_took;
      if (error.empty()) {
        next_saving_step("save.copied", &Monitor::all_is_saved);
      } else {
        go_on_after_saving(error);
      }
    });
  };
  try {
    saving_->copier = std::thread(copy);
  } catch (const std::system_error& error) {
    throw base::Error(base::cat("starting a thread: ", error.what()));
  }
}

void Monitor::all_is_saved() {
  go_on_after_saving("");
}

void Monitor::next_saving_step(const char* point, void (Monitor::*step)()) {
  if (container_over_) {
    go_on_after_saving("its container has ended meanwhile");
    return;
  }
  try {
    base::fault_point(point);
    (this->*step)();
  } catch (const base::Error& error) {
    go_on_after_saving(error.what());
  }
}

// Undoes whatever of the steps was done, the last one first.
void Monitor::go_on_after_saving(const std::string& error) {
  saving_->answer.ok = error.empty();
  saving_->answer.error = error;
  if (!machine_) {
    saving_over("the VM has ended");
    return;
  }
  if (!saving_->paused) {
    thaw_after_saving();
    return;
  }
  saving_->give_up = base::EventLoop::Clock::now() + options_.go_on_limit;
  resume_after_saving();
}

// Once more when it is refused: a VMM that is still at the end of its own part of the save does so.
void Monitor::resume_after_saving() {
  machine_->resume(
      kMachineDeadline, [this, weak = std::weak_ptr(saving_)](const base::Result<void>& resumed) {
        if (weak.expired()) return;
        // One that was never paused need not be resumed.
        const bool stands =
            !resumed.ok() && machine_ && machine_->state() == hypervisor::MachineState::kPaused;
        if (stands && base::EventLoop::Clock::now() < saving_->give_up) {
          saving_->next_try = loop_.after(kGoOnInterval, [this] { resume_after_saving(); });
          return;
        }
        if (stands) {
          if (record_.status == VmStatus::kRunning) {
            record_.status = VmStatus::kPaused;  // it can be unpaused
            save();
          }
          container_frozen_ = saving_->quiesced;
          saving_->answer.error = base::cat("the VM does not go on: ", resumed.error().what());
        }
        saving_->step_began = saving_->pause_began;
        saving_->note("pause");
        base::fault_point("save.resumed");
        thaw_after_saving();
      });
}

void Monitor::thaw_after_saving() {
  if (saving_->at_rest) guest_->resume();
  if (!saving_->quiesced) {
    saving_over(saving_->answer.error);
    return;
  }
  wire::ControlRequest thaw;
  thaw.op = wire::ControlRequest::Op::kThaw;
  thaw.wall_clock_ns = wall_clock_ns();
  if (container_frozen_) {
    // Should the guest go on after all, this waits for it; nobody waits for the answer.
    guest_->control(thaw, kQuiesceDeadline, [](const base::Result<wire::ControlReply>&) {});
    saving_over(saving_->answer.error);
    return;
  }
  guest_->control(
      thaw, kQuiesceDeadline,
      [this, weak = std::weak_ptr(saving_)](const base::Result<wire::ControlReply>& result) {
        if (weak.expired()) return;
        const std::string error = error_of(result);
        // One that has ended cannot, and need not.
        saving_over(error.empty() || container_over_
                        ? saving_->answer.error
                        : base::cat("the container does not go on: ", error));
      });
}

void Monitor::saving_over(std::string error) {
  const auto saving = std::exchange(saving_, nullptr);
  saving->answer.ok = error.empty();
  saving->answer.error = std::move(error);
  saving->reply(to_json(saving->answer));
  serve_early();
}

// ---- a clone

// A saved memory knows a disk that nobody has written to since: it is loaded once, whatever becomes
// of it, and the VM boots from then on. That this is so is on the disk before a vCPU runs.
void Monitor::prepare_restore(hypervisor::MachineConfig& config) {
  restored_ = plan_.restore && !record_.restore_begun && record_.started_ns == 0;
  record_.runs_on_snapshot = restored_;
  if (!restored_) return;
  record_.restore_begun = true;
  base::fault_point("monitor.restoring");
  store_.update(*record_lock_, record_, true);
  snapshot_in_use_ = lock_snapshot(*plan_.restore);
  config.restore = saved_machine_in(plan_.restore->directory);
  config.link_epoch = plan_.restore->link_epoch;
}

void Monitor::restore() {
  machine_->resume(kRestoreDeadline, [this](const base::Result<void>& result) {
    // The VMM's own end tells more where it has one.
    if (!result.ok() && machine_ && machine_->state() != hypervisor::MachineState::kEnded) {
      container_ended(125, base::cat("restoring the snapshot: ", result.error().what()));
    }
  });
}

void Monitor::identify_clone() {
  expect_within(kIdentifyDeadline, "the guest did not take its new identity");
  wire::ControlRequest request;
  request.op = wire::ControlRequest::Op::kIdentify;
  wire::GuestIdentity& identity = request.identity.emplace();
  identity.host_name = plan_.boot.host_name;
  identity.machine_id = plan_.boot.machine_id;
  identity.entropy.resize(kEntropyBytes);
  if (::getrandom(identity.entropy.data(), kEntropyBytes, 0) !=
      static_cast<ssize_t>(kEntropyBytes)) {
    container_ended(125, "reading random bytes for the clone");
    return;
  }
  for (const auto& file : plan_.boot.files) {
    if (file.path == kGuestHostsFile || file.path == kGuestHostnameFile ||
        file.path == kGuestContainerenvFile) {
      identity.files.push_back(file);
    }
  }
  guest_->control(
      request, kIdentifyDeadline, [this](const base::Result<wire::ControlReply>& result) {
        if (container_over_) return;
        const std::string error = error_of(result);
        if (!error.empty()) {
          container_ended(125, base::cat("the clone could not take its identity: ", error));
          return;
        }
        milestone("guest");
        base::fault_point("monitor.guest");
        step_deadline_.reset();
        agent_ready_ = true;
        start_container();
      });
}

void Monitor::thaw_clone() {
  wire::ControlRequest thaw;
  thaw.op = wire::ControlRequest::Op::kThaw;
  thaw.wall_clock_ns = wall_clock_ns();
  guest_->control(thaw, kIdentifyDeadline, [this](const base::Result<wire::ControlReply>& result) {
    if (container_over_) return;
    const std::string error = error_of(result);
    if (error.empty()) {
      container_runs();
    } else {
      container_ended(125, base::cat("the clone's container does not go on: ", error));
    }
  });
}

}  // namespace vm
