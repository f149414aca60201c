#include "vm/monitor/health.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "vm/clock.h"

namespace vm {

using std::chrono::duration_cast;
using Clock = base::EventLoop::Clock;

struct HealthMonitor::Probe {
  GuestProcess process;
  std::int64_t start_ns = 0;
  std::string output;
};

HealthMonitor::HealthMonitor(base::EventLoop& loop, HealthCheck check, std::string process_json,
                             Health& health, Hooks hooks)
    : loop_(loop),
      check_(std::move(check)),
      process_json_(std::move(process_json)),
      health_(health),
      hooks_(std::move(hooks)),
      began_(Clock::now()) {
  health_ = {};
  health_.status = "starting";
  schedule();
}

HealthMonitor::~HealthMonitor() {
  for (const auto& done : std::exchange(waiting_, {})) done(false);
}

void HealthMonitor::schedule() {
  if (check_.interval.count() <= 0) return;
  timer_ = loop_.after(duration_cast<Clock::duration>(check_.interval), [this] { on_timer(); });
}

void HealthMonitor::on_timer() {
  if (probe_) return;  // somebody asked for one; it goes on from there
  if (hooks_.can_check()) {
    begin_probe();
  } else {
    schedule();
  }
}

void HealthMonitor::check(Done done) {
  waiting_.push_back(std::move(done));
  if (!probe_) begin_probe();
}

void HealthMonitor::begin_probe() {
  probe_ = std::make_unique<Probe>();
  probe_->start_ns = wall_clock_ns();
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kExec;
  start.process_json = process_json_;
  probe_->process = hooks_.open_process(start);
  if (probe_->process.stdio) take_output(*probe_->process.stdio);
  if (probe_->process.err) take_output(*probe_->process.err);
  wire::MessageStream::Handler handler;
  handler.on_message = [this](std::string_view message) { on_event(message); };
  handler.on_end = [this] { probe_ended(125, "the guest lost sight of the check"); };
  handler.on_reset = [this](wire::ResetReason reason) {
    probe_ended(125, base::cat("the guest gave the check up: ", wire::to_string(reason)));
  };
  deadline_ = loop_.after(duration_cast<Clock::duration>(check_.timeout), [this] {
    if (!probe_) return;
    wire::ProcessCommand kill;
    kill.kind = wire::ProcessCommand::Kind::kSignal;
    kill.signal = SIGKILL;
    probe_->process.control->send(wire::to_json(kill));
    probe_->process.control->finish();
    probe_ended(-1, "the check exceeded its time limit");
  });
  probe_->process.control->set_handler(std::move(handler));
}

// More output than is kept is taken all the same, so that the check does not stall.
void HealthMonitor::take_output(wire::Stream& stream) {
  wire::Stream::Handler handler;
  handler.on_data = [this, &stream](std::string_view data) {
    if (!probe_) return;
    probe_->output += data.substr(0, kMaxOutputBytes - probe_->output.size());
    stream.consume(data.size());
  };
  stream.set_handler(std::move(handler));
}

void HealthMonitor::on_event(std::string_view message) {
  wire::ProcessEvent event;
  try {
    event = wire::parse_process_event(message);
  } catch (const base::Error& error) {
    probe_ended(125, base::cat("the guest answered in a way that cannot be read: ", error.what()));
    return;
  }
  switch (event.kind) {
    case wire::ProcessEvent::Kind::kStarted:
      return;
    case wire::ProcessEvent::Kind::kExited:
      probe_ended(event.signal != 0 ? 128 + event.signal : event.code, "");
      return;
    case wire::ProcessEvent::Kind::kFailed:
      probe_ended(event.code != 0 ? event.code : 125, event.message);
      return;
  }
}

void HealthMonitor::probe_ended(int exit_code, const std::string& problem) {
  if (!probe_) return;
  const std::unique_ptr<Probe> probe = std::move(probe_);
  deadline_.reset();
  HealthLogEntry entry;
  entry.start_ns = probe->start_ns;
  entry.end_ns = wall_clock_ns();
  entry.exit_code = exit_code;
  entry.output = (probe->output + problem).substr(0, kMaxOutputBytes);
  health_.log.push_back(std::move(entry));
  if (health_.log.size() > kMaxLog) health_.log.erase(health_.log.begin());

  const bool starts_up =
      health_.status == "starting" && Clock::now() - began_ < check_.start_period;
  if (exit_code == 0) {
    health_.failing_streak = 0;
    health_.status = "healthy";
  } else if (!starts_up && ++health_.failing_streak >= check_.retries) {
    health_.status = "unhealthy";
  }
  schedule();
  hooks_.on_change();
  for (const auto& done : std::exchange(waiting_, {})) done(exit_code == 0);
}

}  // namespace vm
