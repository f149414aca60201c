#include "vm/monitor/monitor.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "base/utf8.h"
#include "vm/clock.h"

namespace vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kFirstClientDeadline{5};
constexpr seconds kControlDeadline{10};
// From the order to shut down to the guest's power-off; flushing a full page cache takes its time.
constexpr seconds kShutdownDeadline{30};
constexpr seconds kQuitDeadline{5};
// For clients that have not read all there is: a stopped (Ctrl-Z) one may still want it.
constexpr std::chrono::minutes kLeaveDeadline{10};
// Between the agent's hello and a mounted root, and between the order to start the container and its
// first process; a guest without hardware virtualization on a busy host takes its time.
constexpr seconds kGuestStepDeadline{120};
// From the container's end, or the loss of the guest link, to the end of what should follow.
constexpr seconds kOutputDeadline{10};
constexpr seconds kLinkLossGrace{3};
// Of a guest that reports its progress: more it has no reason to say.
// After SIGKILL to the container, before the whole VM is killed.
constexpr seconds kKillGrace{5};

hypervisor::Accel parse_accel(const std::string& name) {
  if (name == "kvm") return hypervisor::Accel::kKvm;
  if (name == "tcg") return hypervisor::Accel::kTcg;
  return hypervisor::Accel::kAuto;
}

std::string random_bytes(std::size_t count) {
  std::string bytes(count, '\0');
  if (::getrandom(bytes.data(), count, 0) != static_cast<ssize_t>(count)) {
    base::throw_errno("reading random bytes");
  }
  return bytes;
}

}  // namespace

Monitor::Monitor(base::EventLoop& loop, const VmStore& store, MakeHypervisor make_hypervisor,
                 MonitorOptions options)
    : loop_(loop),
      store_(store),
      make_hypervisor_(std::move(make_hypervisor)),
      options_(std::move(options)),
      paths_(store.paths(options_.vm_id)) {}

Monitor::~Monitor() = default;

void Monitor::take_record(milliseconds lock_timeout) {
  // Held to the end of this process: whoever gets it knows that the VM has no monitor.
  if (options_.handover) {
    record_lock_.emplace(std::move(options_.handover->record_lock));
  } else {
    record_lock_ = store_.records().lock_record(options_.vm_id, lock_timeout);
  }
  base::Result<VmRecord> record = store_.read(options_.vm_id);
  if (!record.ok() && record.error().errnum() == ENOENT) {
    // Removed before it was started: only the lock's file is left, made anew by taking it.
    store_.records().remove(std::move(*record_lock_));
    record_lock_.reset();
  }
  record_ = std::move(record).take();
  const bool first_life = !options_.handover;
  if (first_life && (record_.has_monitor() || record_.status == VmStatus::kRemoving)) {
    throw base::Error(
        base::cat("VM ", base::quoted(record_.name), " is ", to_string(record_.status)));
  }
  base::fault_point("monitor.locked");
  record_.status = VmStatus::kStarting;
  record_.monitor = base::identify_process(::getpid()).value();
  last_exit_code_ = record_.exit_code;
  record_.health = {};
  if (first_life) record_.restart_count = 0;
  record_.timings_us.clear();
  milestone("monitor");
}

void Monitor::begin(milliseconds lock_timeout) {
  take_record(lock_timeout);
  log_ = std::make_unique<LogFile>(paths_.log);
  io_ = std::make_unique<ContainerIo>(*log_);
  if (options_.handover) {
    listener_ = std::move(options_.handover->listener);
    restarted_ = std::move(options_.handover->restarted);
    delay_ = options_.handover->delay;
    save();
    listen();
  }
  // The first client first: it is to hear of everything that fails from here on.
  first_client_done_ = !options_.first_client.valid();
  if (options_.first_client) {
    add_client(std::move(options_.first_client));
    start_deadline_ = loop_.after(kFirstClientDeadline + seconds(60), [this] {
      first_client_done_ = true;
      start_container();
    });
  }
  if (delay_.count() > 0) {
    launch_timer_ = loop_.after(delay_, [this] { begin_launch(); });
  } else {
    begin_launch();
  }
}

void Monitor::begin_launch() {
  launched_ = true;
  began_ = base::EventLoop::Clock::now();
  record_.exit_code.reset();
  record_.error.clear();
  try {
    base::fault_point("monitor.save");
    store_.update(*record_lock_, record_);
    log_->open();
    if (!listener_watch_.active()) listen();
    base::fault_point("monitor.listening");
    launch();
  } catch (const std::exception& error) {
    container_ended(125, error.what());
    // A VMM that was started already ends first.
    if (!machine_) loop_.post([this] { finish(); });
  }
}

void Monitor::launch() {
  plan_ = parse_launch_plan(base::read_file(paths_.launch_plan));
  hypervisor::MachineConfig config;
  config.vm_id = record_.id;
  config.vm_dir = paths_.disks;
  config.kernel = plan_.kernel;
  config.initramfs = plan_.initramfs;
  config.kernel_args = plan_.kernel_args;
  config.vcpus = plan_.cpus;
  config.mem_mib = plan_.mem_mib;
  config.accel = parse_accel(plan_.accel);
  config.cpuset = plan_.cpuset_cpus;
  config.console_log = paths_.console_log;
  for (const auto& disk : plan_.disks) {
    hypervisor::DiskConfig entry;
    entry.id = disk.id;
    entry.path = disk.path;
    entry.read_only = disk.read_only;
    // With --rm nobody reads the VM's own disk after it, so its flushes are not worth waiting for.
    const bool own = disk.id == "root";
    entry.discard_flushes = record_.auto_remove && own;
    keeps_data_ = keeps_data_ || (!disk.read_only && (!own || !record_.auto_remove));
    config.disks.push_back(std::move(entry));
  }
  prepare_restore(config);
  hypervisor_ = make_hypervisor_(plan_.hypervisor);
  hypervisor::MachineEvents events;
  events.on_exit = [this](const hypervisor::MachineExit& exit) { on_machine_exit(exit); };
  machine_ = hypervisor_->start(loop_, std::move(config), std::move(events));
  if (const pid_t pid = machine_->vmm_pid(); pid != 0) {
    record_.vmm = base::identify_process(pid).value_or(base::ProcessId{});
  }
  milestone("vmm");
  guest_milestones_.emplace(since_command_us());
  base::fault_point("monitor.vmm");

  Guest::Handler handler;
  handler.on_ready = [this] {
    milestone("agent");
    base::fault_point("monitor.agent");
    if (restored_) {
      identify_clone();
      return;
    }
    expect_within(kGuestStepDeadline, "the guest did not finish its start");
    plan_.boot.wall_clock_ns = wall_clock_ns();
    plan_.boot.entropy = random_bytes(64);
    guest_->boot(plan_.boot);
  };
  handler.on_boot_event = [this](const wire::BootEvent& event) { on_boot_event(event); };
  handler.on_down = [this](const std::string& why) {
    base::log_info(base::cat("guest link down: ", why));
    // Mostly the VMM is ending and tells more; a guest that broke the link has to be ended.
    link_timer_ = loop_.after(kLinkLossGrace, [this, why] {
      container_ended(125, base::cat("the guest link broke: ", why));
      if (machine_) machine_->kill();
    });
  };
  guest_ = std::make_unique<Guest>(loop_, machine_->take_guest_link(), std::move(handler));
  if (restored_) restore();
  save();
}

void Monitor::milestone(const std::string& name) {
  if (options_.command_start_ns != 0) record_.timings_us[name] = since_command_us();
}

std::int64_t Monitor::since_command_us() const {
  return (monotonic_ns() - options_.command_start_ns) / 1000;
}

void Monitor::save() {
  // A record that cannot be written (disk full) must not take a running container down.
  try {
    base::fault_point("monitor.save");
    store_.update(*record_lock_, record_);
  } catch (const base::Error& error) {
    base::log_error(base::cat("writing the record: ", error.what()));
  }
}

// ---- the guest

void Monitor::on_boot_event(const wire::BootEvent& event) {
  if (agent_ready_ || container_over_) return;
  switch (event.kind) {
    case wire::BootEvent::Kind::kProgress:
      guest_milestones_->add(event.step, event.since_start_us, since_command_us());
      return;
    case wire::BootEvent::Kind::kReady:
      if (options_.command_start_ns != 0) guest_milestones_->write(record_.timings_us);
      milestone("guest");
      base::fault_point("monitor.guest");
      step_deadline_.reset();
      agent_ready_ = true;
      start_container();
      return;
    case wire::BootEvent::Kind::kFailed:
      container_ended(125,
                      base::cat("the guest could not start: ", event.step, ": ", event.message));
      return;
  }
}

// Ends the VM when the step under way (the last one named) takes longer.
void Monitor::expect_within(std::chrono::seconds deadline, const std::string& what) {
  step_deadline_ = loop_.after(deadline, [this, deadline, what] {
    guest_trusted_ = false;
    container_ended(125, base::cat(what, " within ", deadline.count(), " s"));
  });
}

void Monitor::start_container() {
  if (!agent_ready_ || !first_client_done_ || container_asked_ || container_over_) return;
  start_deadline_.reset();
  container_asked_ = true;
  wire::ProcessStart start;
  start.kind = restored_ ? wire::ProcessStart::Kind::kAttach : wire::ProcessStart::Kind::kContainer;
  start.tty = record_.tty;
  start.use_stdin = record_.open_stdin;
  start.use_stderr = !record_.tty;
  start.rows = start_rows_;
  start.columns = start_columns_;
  GuestProcess process = guest_->open_process(start);
  io_->connect_guest(std::move(process.stdio), std::move(process.err), [this] {
    output_over_ = true;
    if (container_over_) shut_down();
  });
  container_ = std::move(process.control);
  wire::MessageStream::Handler handler;
  handler.on_message = [this](std::string_view message) { on_container_event(message); };
  handler.on_end = [this] { container_ended(125, "the guest lost sight of the container"); };
  handler.on_reset = [this](wire::ResetReason reason) {
    // With the link gone the VMM's end tells more; it is on its way.
    if (reason == wire::ResetReason::kLinkDown) return;
    container_ended(125, base::cat("the guest gave the container up: ", wire::to_string(reason)));
  };
  container_->set_handler(std::move(handler));
  milestone("container_asked");
  base::fault_point("monitor.asked");
  expect_within(kGuestStepDeadline, "the guest did not start the container");
}

void Monitor::on_container_event(std::string_view message) {
  wire::ProcessEvent event;
  try {
    event = wire::parse_process_event(message);
  } catch (const base::Error& error) {
    guest_trusted_ = false;
    container_ended(125,
                    base::cat("the guest answered in a way that cannot be read: ", error.what()));
    return;
  }
  switch (event.kind) {
    case wire::ProcessEvent::Kind::kStarted:
      if (start_decided()) return;
      // A clone's stands still until it is another.
      if (restored_) {
        thaw_clone();
      } else {
        container_runs();
      }
      return;
    case wire::ProcessEvent::Kind::kExited:
      record_.oom_killed = event.oom_killed;
      container_ended(event.signal != 0 ? 128 + event.signal : event.code, "");
      return;
    case wire::ProcessEvent::Kind::kFailed:
      fail_code_ = event.code != 0 ? event.code : 125;
      container_ended(fail_code_, event.message);
      return;
  }
}

void Monitor::container_runs() {
  if (start_decided()) return;
  milestone("started");
  step_deadline_.reset();
  ran_ = true;
  record_.status = VmStatus::kRunning;
  record_.started_ns = wall_clock_ns();
  begin_health();
  save();
  base::fault_point("monitor.started");
  answer_restarted("");
  if (plan_.balloon_mib != 0) {
    machine_->set_balloon_target(plan_.balloon_mib, kControlDeadline,
                                 [](const base::Result<void>& result) {
                                   if (!result.ok()) base::log_warn(result.error().what());
                                 });
  }
  // A stop that came while it was being started had nobody to signal.
  if (stopping_) signal_container(stop_signal_);
  const std::string started = wire::to_json(wire::ProcessEvent{});
  for (auto& client : attached_) {
    if (!std::exchange(client.started_sent, true)) client.control->send(started);
  }
  serve_early();
}

void Monitor::container_ended(int exit_code, const std::string& error) {
  if (std::exchange(container_over_, true)) return;
  health_.reset();
  milestone("exited");
  record_.exit_code = exit_code;
  record_.error = base::printable(error);  // it may quote the guest
  if (!error.empty() && fail_code_ == 0) fail_code_ = exit_code;
  // Its end was on its way when the guest was paused: the rest of it needs a guest that runs.
  if (record_.status == VmStatus::kPaused && machine_) {
    machine_->resume(kControlDeadline, [](const base::Result<void>&) {});
  }
  record_.status = VmStatus::kStopping;
  save();
  base::fault_point("monitor.ended");
  stop_timer_.reset();
  step_deadline_.reset();
  if (!container_asked_ || fail_code_ != 0) io_->end_output();
  if (!container_asked_ || fail_code_ != 0 || output_over_) {
    shut_down();
  } else {
    // The exit is reported after the last output, so what is missing now is only its end.
    io_->release();
    stop_timer_ = loop_.after(kOutputDeadline, [this] {
      io_->end_output();
      shut_down();
    });
  }
  serve_early();
}

// The container's first output may be ahead of the news that it has started; whoever has read it may
// rely on a running container.
bool Monitor::start_decided() const {
  return !container_asked_ || container_over_ || record_.status != VmStatus::kStarting;
}

void Monitor::serve_early() {
  for (auto& process : std::exchange(early_execs_, {})) {
    if (process.control->open()) exec(std::move(process));
  }
  for (const auto& [text, reply] : std::exchange(early_requests_, {})) on_request(text, reply);
}

void Monitor::signal_container(int signal) {
  wire::ControlRequest control;
  control.op = wire::ControlRequest::Op::kSignalContainer;
  control.signal = signal;
  guest_->control(control, kControlDeadline, [](const base::Result<wire::ControlReply>& result) {
    if (!result.ok()) base::log_warn(base::cat("stopping: ", result.error().what()));
  });
}

void Monitor::stop(const MonitorRequest& request) {
  if (container_over_) return;  // the end is under way and has deadlines of its own
  if (!launched_) {
    end_delay();
    return;
  }
  if (record_.status == VmStatus::kPaused) {
    resume_machine([this, request](const std::string& error) {
      if (error.empty()) {
        stop(request);
      } else {
        container_ended(128 + SIGKILL, "");
      }
    });
    return;
  }
  if (!container_asked_ || !guest_ || guest_->down()) {
    container_ended(128 + SIGKILL, "");
    return;
  }
  base::fault_point("monitor.stop");
  // An attached client that does not read must not keep the container from ending.
  io_->release();
  const auto kill_container = [this] {
    stop_signal_ = SIGKILL;
    signal_container(SIGKILL);
    // It may hang in the guest's kernel; the guest still gets the chance to flush its disk.
    stop_timer_ = loop_.after(kKillGrace, [this] { container_ended(128 + SIGKILL, ""); });
  };
  const int timeout_s = request.timeout_s.value_or(record_.stop_timeout_s);
  const auto kill_at = timeout_s < 0 ? base::EventLoop::Clock::time_point::max()
                                     : base::EventLoop::Clock::now() + seconds(timeout_s);
  // Of several stops the most impatient wins.
  if (stopping_ && kill_at >= kill_at_) return;
  kill_at_ = kill_at;
  if (timeout_s == 0) {
    stopping_ = true;
    kill_container();
    return;
  }
  if (!std::exchange(stopping_, true)) {
    stop_signal_ = request.signal != 0 ? request.signal : record_.stop_signal;
    signal_container(stop_signal_);
  }
  if (timeout_s > 0) stop_timer_ = loop_.at(kill_at, kill_container);
}

void Monitor::request_stop() {
  if (saving_) {
    MonitorRequest request;
    request.op = MonitorRequest::Op::kStop;
    early_requests_.emplace_back(to_json(request), [](const std::string&) {});
    return;
  }
  stop_wanted_ = true;
  restart_wanted_ = false;
  stop(MonitorRequest{});
}

// ---- the end

void Monitor::shut_down() {
  if (!machine_ || std::exchange(shutting_down_, true)) return;
  base::fault_point("monitor.shutdown");
  const bool keeps_data = keeps_data_ || restart_wanted_;
  if (!keeps_data || !guest_ || guest_->down() || !agent_ready_ || !guest_trusted_) {
    machine_->kill();
    return;
  }
  if (machine_->state() == hypervisor::MachineState::kPaused) {
    // Only a guest that runs can write out what it has not yet.
    machine_->resume(kControlDeadline, [](const base::Result<void>&) {});
  }
  wire::ControlRequest request;
  request.op = wire::ControlRequest::Op::kShutdown;
  guest_->control(request, kShutdownDeadline, [this](base::Result<wire::ControlReply> result) {
    if (result.ok() && result.value().ok) return;
    if (machine_) machine_->quit(kQuitDeadline);
  });
  stop_timer_ = loop_.after(kShutdownDeadline, [this] {
    if (machine_) machine_->quit(kQuitDeadline);
  });
}

void Monitor::on_machine_exit(const hypervisor::MachineExit& exit) {
  milestone("vmm_gone");
  if (saving_) saving_over(base::cat("the VM ended: ", exit.detail));
  base::fault_point("monitor.vmm-gone");
  link_timer_.reset();
  step_deadline_.reset();
  if (!container_over_) {
    // A VMM that somebody killed under a running container is to its user what a killed container
    // is; everything else is our failure.
    const bool ran = record_.status == VmStatus::kRunning || record_.status == VmStatus::kPaused;
    const bool killed = ran && exit.vmm_status.signal != 0 &&
                        exit.reason == hypervisor::MachineExit::Reason::kVmmFailed;
    fail_code_ = killed ? 128 + exit.vmm_status.signal : 125;
    container_ended(fail_code_, base::cat("the VM ended: ", exit.detail));
  }
  io_->end_output();
  for (auto& relay : execs_) relay->fail("the VM has ended");
  loop_.post([this] {
    machine_.reset();
    finish();
  });
}

void Monitor::finish() {
  if (std::exchange(finished_, true)) return;
  stop_timer_.reset();
  start_deadline_.reset();
  listener_watch_.reset();
  if (launched_) record_.finished_ns = wall_clock_ns();
  record_.vmm = {};
  answer_restarted(record_.error.empty() ? "it has ended already" : record_.error);
  if (lives_again()) {
    hand_over();
    return;
  }
  for (const auto& reply : std::exchange(restarting_, {})) {
    MonitorReply refusal;
    refusal.ok = false;
    refusal.error = "it was stopped meanwhile";
    reply(to_json(refusal));
  }
  listener_.reset();
  record_.status = VmStatus::kExited;
  record_.monitor = {};
  try {
    if (record_.auto_remove) {
      store_.destroy(std::move(*record_lock_), record_);
    } else {
      base::remove_tree(paths_.run);
      save();
    }
  } catch (const std::exception& error) {
    base::log_error(base::cat("cleaning up: ", error.what()));
  }
  base::fault_point("monitor.finished");
  record_lock_.reset();
  milestone("finished");
  tell_the_end();
}

void Monitor::tell_the_end() {
  for (auto& client : attached_) send_end(client);
  for (const auto& reply : std::exchange(waiting_, {})) reply(to_json(end_reply()));
  io_->on_flushed([this] { loop_.post([this] { leave_when_done(); }); });
  loop_.post([this] { leave_when_done(); });
}

MonitorReply Monitor::end_reply() const {
  MonitorReply reply;
  reply.exit_code = record_.exit_code;
  reply.error = record_.error;
  reply.removed = record_.auto_remove && !handed_over_;
  reply.timings_us = record_.timings_us;
  return reply;
}

void Monitor::send_end(Attached& client) const {
  if (std::exchange(client.end_sent, true)) return;
  wire::ProcessEvent event;
  if (fail_code_ != 0) {
    event.kind = wire::ProcessEvent::Kind::kFailed;
    event.code = fail_code_;
    event.message = record_.error;
  } else {
    event.kind = wire::ProcessEvent::Kind::kExited;
    event.code = record_.exit_code.value_or(125);
    event.oom_killed = record_.oom_killed;
  }
  client.control->send(wire::to_json(event));
  client.control->finish();
}

void Monitor::leave_when_done() {
  if (!finished_) return;
  const auto leave = [this] {
    done_ = true;
    loop_.stop();
  };
  if (clients_.empty()) {
    leave();
    return;
  }
  // A client that still takes output is waited for; one that has everything is given a moment.
  if (io_->flushed() && !stop_timer_.active()) {
    stop_timer_ = loop_.after(kLeaveDeadline, leave);
  }
}

}  // namespace vm
