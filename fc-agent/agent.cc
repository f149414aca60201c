#include "fc-agent/agent.h"

#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "fc-agent/guest_setup.h"
#include "fc-agent/podman.h"
#include "fc-agent/power.h"
#include "wire/mux_link.h"
#include "wire/process.h"

namespace fc_agent {
namespace {

using std::chrono::milliseconds;

// After SIGKILL a process ends unless the kernel itself is stuck, which the host cannot wait for.
constexpr milliseconds kKillTimeout{5000};
// How long the host may take to read our last words.
constexpr milliseconds kLastWordsTimeout{2000};
// Modules that nobody waits for leave the processor to the container's first moments.
constexpr milliseconds kLateModulesDelay{500};
constexpr milliseconds kReapTimeout{2000};

}  // namespace

Agent::Agent(base::EventLoop& loop, Reaper& reaper, const Modules& modules)
    : loop_(loop),
      modules_(modules),
      processes_(ProcessContext{loop, reaper, {}, {}, "/run/fcvm"}),
      control_(loop, processes_,
               [this](int signal, milliseconds timeout, std::function<void()> done) {
                 shut_down(signal, timeout, std::move(done));
               }),
      boot_(std::make_unique<Boot>(
          loop, modules, [this](const wire::BootEvent& event) { on_boot_event(event); })) {
  processes_.on_container_started(
      [this] { late_timer_ = loop_.after(kLateModulesDelay, [this] { load_late_modules(); }); });
}

Agent::~Agent() = default;

void Agent::note_progress(std::string step, std::int64_t since_start_us) {
  wire::BootEvent event;
  event.step = std::move(step);
  event.since_start_us = since_start_us;
  send_boot_event(event);
}

void Agent::connect(base::Fd port) {
  link_ = wire::make_mux_link(loop_, std::move(port), {.side = wire::Side::kGuest});
  wire::Link::Handler handler;
  handler.on_ready = [this] { note_progress("link", monotonic_us()); };
  handler.on_stream = [this](std::unique_ptr<wire::Stream> stream, const std::string& service,
                             const std::string& argument) {
    on_stream(std::move(stream), service, argument);
  };
  handler.on_down = [this](const std::string& why) { on_link_down(why); };
  // This guest is a clone from here on, and its host another.
  handler.on_renewed = [this] {
    boot_stream_.reset();
    processes_.forget_host();
  };
  link_->set_handler(std::move(handler));
}

void Agent::on_stream(std::unique_ptr<wire::Stream> stream, const std::string& service,
                      const std::string& argument) {
  if (service == wire::kBootService) {
    on_boot_stream(std::move(stream));
  } else if (ProcessService::serves(service)) {
    processes_.accept(std::move(stream), service, argument);
  } else if (service == wire::kControlService) {
    control_.accept(std::move(stream));
  } else {
    stream->reset(wire::ResetReason::kNoService);
  }
}

void Agent::on_boot_stream(std::unique_ptr<wire::Stream> stream) {
  // One boot, one plan; destroying the stream refuses it.
  if (boot_stream_ != nullptr) return;
  boot_stream_ = std::make_unique<wire::MessageStream>(std::move(stream));
  wire::MessageStream::Handler handler;
  handler.on_message = [this](std::string_view message) {
    if (std::exchange(plan_taken_, true)) throw base::Error("a second boot plan");
    wire::BootPlan plan;
    try {
      plan = wire::parse_boot_plan(message);
    } catch (const base::Error& error) {
      return give_up("plan", error.what());
    }
    container_ = ContainerPlan{plan.container.id, plan.container.bundle, plan.container.podman, 0,
                               plan.host_name};
    boot_->give_plan(std::move(plan));
  };
  boot_stream_->set_handler(std::move(handler));
  for (const auto& event : std::exchange(early_events_, {})) send_boot_event(event);
}

void Agent::send_boot_event(const wire::BootEvent& event) {
  if (boot_stream_ == nullptr) {
    early_events_.push_back(event);
  } else {
    boot_stream_->send(wire::to_json(event));
  }
}

void Agent::on_boot_event(const wire::BootEvent& event) {
  if (event.kind == wire::BootEvent::Kind::kFailed) return give_up(event.step, event.message);
  send_boot_event(event);
  if (event.kind != wire::BootEvent::Kind::kReady) return;
  if (boot_stream_ != nullptr) boot_stream_->finish();
  if (!shutting_down_) processes_.set_ready(std::move(*container_));
}

void Agent::give_up(const std::string& step, const std::string& why) {
  base::log_error(base::cat("boot failed: ", step, ": ", why));
  send_boot_event({.kind = wire::BootEvent::Kind::kFailed,
                   .step = step,
                   .since_start_us = monotonic_us(),
                   .message = why});
  if (boot_stream_ != nullptr) boot_stream_->finish();
  shut_down(SIGKILL, milliseconds(0), {});
}

void Agent::on_link_down(const std::string& why) {
  base::log_error(base::cat("the guest link is down: ", why));
  shut_down(SIGKILL, milliseconds(0), {});
}

void Agent::shut_down(int signal, milliseconds timeout, std::function<void()> done) {
  if (done) shutdown_done_.push_back(std::move(done));
  const bool first = !std::exchange(shutting_down_, true);
  if (first) processes_.set_stopping();
  if (!processes_.container_alive()) return end_guest();
  processes_.on_container_ended([this] { end_guest(); });
  processes_.signal_container(signal > 0 && signal < NSIG ? signal : SIGTERM, false);
  // A second, more impatient request wins.
  kill_timer_ = loop_.after(timeout, [this] {
    processes_.signal_container(SIGKILL, true);
    end_timer_ = loop_.after(kKillTimeout, [this] { end_guest(); });
  });
}

void Agent::end_guest() {
  kill_timer_.reset();
  end_timer_.reset();
  // In a turn of the loop of its own: this may be the container's last event's own callback.
  loop_.post([this] {
    kill_everything(kReapTimeout);
    flush_disks();
    for (const auto& done : std::exchange(shutdown_done_, {})) done();
    // The power goes when the host has had time to read; it need not wait for that, for it sees the
    // VMM end.
    const bool last_words = boot_stream_ != nullptr && boot_stream_->open();
    loop_.run_until([this, last_words] { return !last_words || !boot_stream_->open(); },
                    last_words ? kLastWordsTimeout : milliseconds(0));
    loop_.run_once(milliseconds(0));
    power_off();
  });
}

void Agent::load_late_modules() {
  try {
    std::thread([this] { modules_.load_stage(ModuleStage::kLate); }).detach();
  } catch (const std::system_error& error) {
    // The container has taken all the threads there are.
    base::log_warn(error.what());
    modules_.load_stage(ModuleStage::kLate);
  }
}

}  // namespace fc_agent
