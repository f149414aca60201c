#include "fc-agent/process_service.h"

#include <algorithm>
#include <csignal>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "fc-agent/cgroup.h"

namespace fc_agent {
namespace {

using Kind = wire::ProcessStart::Kind;

constexpr const char* kCgroupRoot = "/sys/fs/cgroup";
constexpr std::size_t kMaxEarlySignals = 16;

bool valid_signal(int signal) {
  return signal > 0 && signal < NSIG;
}

}  // namespace

// All that belongs to one id.
struct ProcessService::Group {
  std::string id;
  std::unique_ptr<wire::MessageStream> control;
  ProcessIo::Streams streams;
  std::optional<wire::ProcessStart> start;
  std::unique_ptr<Process> process;
  std::shared_ptr<Group*> owner;   // for the process's callbacks: the group it belongs to now
  std::vector<int> early_signals;  // came before the process ran
  bool stdin_closed = false;       // asked for before the process was there
  bool over = false;               // its last event was sent, or nobody is there to hear it
  base::EventLoop::Registration timer;
};

ProcessService::ProcessService(ProcessContext context) : context_(std::move(context)) {}
ProcessService::~ProcessService() = default;

bool ProcessService::serves(std::string_view service) {
  return service == wire::kProcessService || service == wire::kStdioService ||
         service == wire::kStderrService;
}

ProcessService::Group* ProcessService::find_or_add(const std::string& id) {
  const auto found = groups_.find(id);
  if (found != groups_.end()) return found->second.get();
  if (groups_.size() >= kMaxProcesses) return nullptr;
  auto group = std::make_unique<Group>();
  group->id = id;
  group->timer = context_.loop.after(kGatherTimeout, [this, id] {
    base::log_warn(base::cat("process ", base::quoted(id), ": its streams did not all come"));
    remove_later(id);
  });
  return (groups_[id] = std::move(group)).get();
}

void ProcessService::accept(std::unique_ptr<wire::Stream> stream, std::string_view service,
                            std::string id) {
  Group* const group = find_or_add(id);
  // Destroying the stream refuses it.
  if (group == nullptr || group->process != nullptr || group->over) return;
  if (service == wire::kStdioService) {
    if (group->streams.stdio == nullptr) group->streams.stdio = std::move(stream);
  } else if (service == wire::kStderrService) {
    if (group->streams.stderr_stream == nullptr) group->streams.stderr_stream = std::move(stream);
  } else if (group->control == nullptr) {
    group->control = std::make_unique<wire::MessageStream>(std::move(stream));
    wire::MessageStream::Handler handler;
    // The group lives as long as its control stream, and that as long as these are called.
    handler.on_message = [this, group](std::string_view message) { on_message(*group, message); };
    handler.on_end = [this, group] {
      if (group->over || !group->start) remove_later(group->id);
    };
    handler.on_reset = [this, group](wire::ResetReason) {
      // A running process goes on; nobody hears of its end.
      if (group->over || group->process == nullptr) remove_later(group->id);
      group->over = true;
    };
    group->control->set_handler(std::move(handler));
    return;
  }
  start_if_complete(*group);
}

void ProcessService::on_message(Group& group, std::string_view message) {
  if (group.over) return;
  if (group.start) return on_command(group, wire::parse_process_command(message));
  group.start = wire::parse_process_start(message);
  start_if_complete(group);
}

void ProcessService::on_command(Group& group, const wire::ProcessCommand& command) {
  switch (command.kind) {
    case wire::ProcessCommand::Kind::kSignal:
      if (!valid_signal(command.signal)) throw base::Error("a process command has no such signal");
      if (group.process != nullptr) {
        group.process->signal(command.signal);
      } else if (group.early_signals.size() < kMaxEarlySignals) {
        group.early_signals.push_back(command.signal);
      }
      return;
    case wire::ProcessCommand::Kind::kResize:
      group.start->rows = command.rows;
      group.start->columns = command.columns;
      if (group.process != nullptr) group.process->resize(command.rows, command.columns);
      return;
    case wire::ProcessCommand::Kind::kCloseStdin:
      group.stdin_closed = true;
      if (group.process != nullptr) group.process->close_stdin();
      return;
  }
}

void ProcessService::start_if_complete(Group& group) {
  if (!group.start || group.process != nullptr || group.over) return;
  if (wire::needs_stdio(*group.start) && group.streams.stdio == nullptr) return;
  if (wire::needs_stderr(*group.start) && group.streams.stderr_stream == nullptr) return;
  // From here on it waits for the guest, not for the peer.
  group.timer.reset();
  if (stopping_) return refuse(group, 125, "the VM is being stopped");
  if (container_plan_) launch(group);
}

void ProcessService::launch(Group& group) {
  const Kind kind = group.start->kind;
  if (kind == Kind::kContainer) {
    if (std::exchange(container_used_, true)) {
      return refuse(group, 125, "the container has been started already");
    }
  } else if (kind == Kind::kExec || kind == Kind::kHelper) {
    if (!container_running()) return refuse(group, 125, "the container is not running");
  } else if (kind == Kind::kAttach) {
    return attach(group);
  }

  group.owner = std::make_shared<Group*>(&group);
  Process::Handler handler;
  handler.on_created = [this, owner = group.owner](int) {
    if ((*owner)->process.get() == container_) remember_container();
  };
  handler.on_started = [this, owner = group.owner](int pid) { started(**owner, pid); };
  handler.on_exited = [this, owner = group.owner](base::ExitStatus status) {
    exited(**owner, status);
  };
  handler.on_failed = [this, owner = group.owner, kind](int code, const std::string& message) {
    refuse(**owner, code, message);
    if (kind != Kind::kContainer) return;
    container_ = nullptr;
    if (const auto callback = std::exchange(container_started_, nullptr)) callback();
    if (const auto callback = std::exchange(container_ended_, nullptr)) callback();
  };
  try {
    group.process = std::make_unique<Process>(context_, *group.start, std::move(group.streams),
                                              std::move(handler));
  } catch (const std::exception& error) {
    return refuse(group, 125, error.what());
  }
  if (kind == Kind::kContainer) container_ = group.process.get();
  group.process->start(*container_plan_);
  for (const int signal : std::exchange(group.early_signals, {})) group.process->signal(signal);
  if (group.stdin_closed) group.process->close_stdin();
}

// The container was started for another host: its process moves to the group of this one.
void ProcessService::attach(Group& group) {
  const auto orphan = std::find_if(orphans_.begin(), orphans_.end(), [this](const auto& candidate) {
    return container_ != nullptr && candidate->process.get() == container_;
  });
  if (orphan == orphans_.end() || !container_running()) {
    return refuse(group, 125, "nothing to attach to in the guest");
  }
  group.process = std::move((*orphan)->process);
  group.owner = (*orphan)->owner;
  *group.owner = &group;
  group.start->kind = Kind::kContainer;
  orphans_.erase(orphan);
  container_->reattach(std::move(group.streams));
  started(group, container_->pid());
}

void ProcessService::started(Group& group, int pid) {
  wire::ProcessEvent event;
  event.kind = wire::ProcessEvent::Kind::kStarted;
  event.pid = pid;
  send(group, event);
  if (group.start->kind == Kind::kContainer) {
    if (const auto callback = std::exchange(container_started_, nullptr)) callback();
  } else if (group.start->detach) {
    // The reaper takes what nobody watches.
    finish(group);
  }
}

void ProcessService::remember_container() {
  container_plan_->init = container_->created_pid();
  container_plan_->id = container_->runtime_id();
  container_cgroup_ = cgroup_of(kCgroupRoot, container_->created_pid());
  oom_kills_at_start_ = cgroup_oom_kills(container_cgroup_);
}

void ProcessService::exited(Group& group, base::ExitStatus status) {
  wire::ProcessEvent event;
  event.kind = wire::ProcessEvent::Kind::kExited;
  event.code = status.code;
  event.signal = status.signal;
  const bool is_container = group.process.get() == container_;
  if (is_container) {
    event.oom_killed = cgroup_oom_kills(container_cgroup_) > oom_kills_at_start_;
    container_ = nullptr;
  }
  send(group, event);
  finish(group);
  if (!is_container) return;
  if (const auto callback = std::exchange(container_ended_, nullptr)) callback();
}

void ProcessService::refuse(Group& group, int code, std::string message) {
  wire::ProcessEvent event;
  event.kind = wire::ProcessEvent::Kind::kFailed;
  event.code = code;
  event.message = std::move(message);
  send(group, event);
  finish(group);
}

void ProcessService::send(Group& group, const wire::ProcessEvent& event) {
  if (!group.over && group.control != nullptr) group.control->send(wire::to_json(event));
}

void ProcessService::finish(Group& group) {
  const auto orphan =
      std::find_if(orphans_.begin(), orphans_.end(),
                   [&group](const auto& candidate) { return candidate.get() == &group; });
  if (orphan != orphans_.end()) {
    // Not inside the process's own callback.
    context_.loop.post([gone = std::shared_ptr<Group>(std::move(*orphan))] {});
    orphans_.erase(orphan);
    return;
  }
  group.streams = {};
  const bool heard = !std::exchange(group.over, true) && group.control != nullptr;
  if (heard) group.control->finish();
  if (!heard || !group.control->open()) return remove_later(group.id);
  // The peer closes its side when it has read the end.
  group.timer = context_.loop.after(kFinishTimeout, [this, id = group.id] { remove_later(id); });
}

void ProcessService::remove_later(const std::string& id) {
  // By identity: a new group may have the same id by then.
  const auto found = groups_.find(id);
  if (found == groups_.end()) return;
  found->second->over = true;
  const Group* const group = found->second.get();
  context_.loop.post([weak = std::weak_ptr<ProcessService*>(self_), id, group] {
    const auto self = weak.lock();
    if (!self) return;
    auto& groups = (*self)->groups_;
    const auto there = groups.find(id);
    if (there == groups.end() || there->second.get() != group) return;
    if (there->second->process.get() == (*self)->container_) (*self)->container_ = nullptr;
    groups.erase(there);
  });
}

void ProcessService::set_ready(ContainerPlan container) {
  container_plan_ = std::move(container);
  std::vector<Group*> waiting;
  for (const auto& [id, group] : groups_) waiting.push_back(group.get());
  for (Group* group : waiting) start_if_complete(*group);
}

void ProcessService::set_stopping() {
  stopping_ = true;
  for (const auto& [id, group] : groups_) {
    if (group->process == nullptr && group->start && !group->over) {
      refuse(*group, 125, "the VM is being stopped");
    }
  }
}

void ProcessService::forget_host() {
  for (auto& [id, group] : std::exchange(groups_, {})) {
    group->over = true;
    group->timer.reset();
    group->control.reset();
    if (group->process != nullptr) orphans_.push_back(std::move(group));
  }
}

void ProcessService::signal_container(int signal, bool all) {
  if (!valid_signal(signal)) throw base::Error("no such signal");
  if (!container_alive()) return;
  if (all && !container_cgroup_.empty()) {
    signal_cgroup(container_cgroup_, signal);
  } else {
    container_->signal(signal);
  }
}

}  // namespace fc_agent
