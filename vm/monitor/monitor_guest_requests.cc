// What clients ask of the machine and its guest: kill, pause, unpause.
#include <algorithm>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "vm/clock.h"
#include "vm/monitor/monitor.h"

namespace vm {
namespace {

constexpr std::chrono::seconds kControlDeadline{10};

std::string answer(const std::string& error) {
  MonitorReply reply;
  reply.ok = error.empty();
  reply.error = error;
  return to_json(reply);
}

std::string error_of(const base::Result<wire::ControlReply>& result) {
  if (!result.ok()) return result.error().what();
  return result.value().ok ? "" : result.value().error;
}

}  // namespace

void Monitor::kill(const std::string& text, const MonitorRequest& request, const Reply& reply) {
  if (must_wait()) {
    early_requests_.emplace_back(text, reply);
    return;
  }
  if (record_.status == VmStatus::kPaused) {
    // As a frozen process: SIGKILL ends it, everything else waits, once, until it goes on.
    if (request.signal == SIGKILL) {
      signals_while_paused_ = {SIGKILL};
      resume_machine([reply](const std::string& error) { reply(answer(error)); });
      return;
    }
    auto& waiting = signals_while_paused_;
    if (std::find(waiting.begin(), waiting.end(), request.signal) == waiting.end()) {
      waiting.push_back(request.signal);
    }
    reply(answer(""));
    return;
  }
  if (record_.status != VmStatus::kRunning || !guest_) {
    reply(answer(base::cat("it is ", to_string(record_.status), ", not running")));
    return;
  }
  wire::ControlRequest control;
  control.op = wire::ControlRequest::Op::kSignalContainer;
  control.signal = request.signal;
  guest_->control(
      control, kControlDeadline,
      [reply](const base::Result<wire::ControlReply>& result) { reply(answer(error_of(result))); });
}

void Monitor::pause(const std::string& text, const Reply& reply) {
  if (must_wait()) {
    early_requests_.emplace_back(text, reply);
    return;
  }
  if (record_.status == VmStatus::kPaused) {
    reply(answer("it is paused already"));
    return;
  }
  if (record_.status != VmStatus::kRunning || stopping_ || !machine_) {
    const auto status = stopping_ ? VmStatus::kStopping : record_.status;
    reply(answer(base::cat("it is ", to_string(status), ", not running")));
    return;
  }
  machine_->pause(kControlDeadline, [this, reply](const base::Result<void>& result) {
    if (!result.ok()) {
      reply(answer(result.error().what()));
      return;
    }
    if (stopping_ || container_over_ || record_.status != VmStatus::kRunning) {
      // Its end came first, and needs a guest that runs.
      if (machine_) machine_->resume(kControlDeadline, [](const base::Result<void>&) {});
      reply(answer("it is stopping"));
      return;
    }
    record_.status = VmStatus::kPaused;
    save();
    reply(answer(""));
  });
}

void Monitor::unpause(const Reply& reply) {
  if (record_.status != VmStatus::kPaused) {
    reply(answer(base::cat("it is ", to_string(record_.status), ", not paused")));
    return;
  }
  resume_machine([reply](const std::string& error) { reply(answer(error)); });
}

void Monitor::stats(const std::string& text, const Reply& reply) {
  if (must_wait()) {
    early_requests_.emplace_back(text, reply);
    return;
  }
  if (record_.status == VmStatus::kPaused) {
    answer_stats(reply);
    return;
  }
  if (record_.status != VmStatus::kRunning || !guest_) {
    reply(answer(base::cat("it is ", to_string(record_.status), ", not running")));
    return;
  }
  wire::ControlRequest control;
  control.op = wire::ControlRequest::Op::kStats;
  guest_->control(control, kControlDeadline,
                  [this, reply](const base::Result<wire::ControlReply>& result) {
                    const std::string error = error_of(result);
                    if (!error.empty()) {
                      reply(answer(error));
                      return;
                    }
                    const wire::ControlReply& guest = result.value();
                    last_stats_.cpu_us = guest.container_cpu_us;
                    last_stats_.mem_bytes = guest.container_mem_bytes;
                    last_stats_.processes = guest.container_processes;
                    last_stats_.read_bytes = guest.container_read_bytes;
                    last_stats_.written_bytes = guest.container_written_bytes;
                    answer_stats(reply);
                  });
}

void Monitor::answer_stats(const Reply& reply) {
  const auto send = [this, reply] {
    MonitorReply message;
    message.stats = last_stats_;
    reply(to_json(message));
  };
  if (!machine_) {
    send();
    return;
  }
  machine_->stats(
      kControlDeadline, [this, send](const base::Result<hypervisor::MachineStats>& result) {
        if (result.ok()) {
          last_stats_.vmm_cpu_us = static_cast<std::uint64_t>(result.value().vmm_time.count());
          last_stats_.vmm_resident_bytes = result.value().resident_bytes;
        }
        send();
      });
}

// Calls `done` when the guest runs, has the right time and the container its signals, or with why
// not.
void Monitor::resume_machine(std::function<void(const std::string& error)> done) {
  if (!machine_) {
    loop_.post([done = std::move(done)] { done("the VM is gone"); });
    return;
  }
  machine_->resume(kControlDeadline, [this,
                                      done = std::move(done)](const base::Result<void>& result) {
    if (!result.ok()) {
      done(result.error().what());
      return;
    }
    if (record_.status == VmStatus::kPaused) {
      record_.status = VmStatus::kRunning;
      save();
    }
    // A guest's clock stands still with its vCPUs.
    wire::ControlRequest clock;
    // After a save it did not go on from its container is frozen still.
    clock.op = std::exchange(container_frozen_, false) ? wire::ControlRequest::Op::kThaw
                                                       : wire::ControlRequest::Op::kSetClock;
    clock.wall_clock_ns = wall_clock_ns();
    guest_->control(clock, kControlDeadline, [done](const base::Result<wire::ControlReply>& set) {
      const std::string error = error_of(set);
      if (!error.empty()) base::log_warn(base::cat("setting the guest's clock: ", error));
      done("");
    });
    for (const int signal : std::exchange(signals_while_paused_, {})) signal_container(signal);
  });
}

}  // namespace vm
