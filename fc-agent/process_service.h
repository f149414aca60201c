#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "fc-agent/process.h"
#include "wire/link.h"
#include "wire/message_stream.h"
#include "wire/process.h"

namespace fc_agent {

// Serves kProcessService, kStdioService and kStderrService (wire/process.h): brings the streams of
// one id together, starts what they ask for when the guest is ready, and reports its end. A message
// that makes no sense costs the streams of its id. Loop thread.
class ProcessService {
 public:
  explicit ProcessService(ProcessContext context);
  ~ProcessService();
  ProcessService(const ProcessService&) = delete;
  ProcessService& operator=(const ProcessService&) = delete;

  static bool serves(std::string_view service);
  void accept(std::unique_ptr<wire::Stream> stream, std::string_view service, std::string id);

  // The guest is up: starts what has been waiting for that.
  void set_ready(ContainerPlan container);
  // Nothing is started any more (the guest is going down); what waits is refused.
  void set_stopping();
  // The host is another one: processes go on, but what was asked of them is void, and ids are free
  // to be used again.
  void forget_host();

  bool container_running() const { return container_ != nullptr && container_->pid() != 0; }
  // It runs or is being started; a signal sent now reaches it when it runs.
  bool container_alive() const { return container_ != nullptr && container_->alive(); }
  pid_t container_pid() const { return container_ != nullptr ? container_->pid() : 0; }
  void signal_container(int signal, bool all);
  // Empty before the container runs; stays after its end.
  const std::string& container_cgroup() const { return container_cgroup_; }
  // Once, when the host has been told that the container's process has ended or could not start.
  void on_container_ended(std::function<void()> callback) {
    container_ended_ = std::move(callback);
  }
  // Once, when a container's process has started or failed to: time for work that can wait.
  void on_container_started(std::function<void()> callback) {
    container_started_ = std::move(callback);
  }

  // What the peer may have going at once; more is refused.
  static constexpr std::size_t kMaxProcesses = 80;
  // How long the streams of one id wait for each other.
  static constexpr std::chrono::seconds kGatherTimeout{30};
  // How long the peer may take to read the last message.
  static constexpr std::chrono::seconds kFinishTimeout{30};

 private:
  struct Group;

  Group* find_or_add(const std::string& id);
  void on_message(Group& group, std::string_view message);
  void on_command(Group& group, const wire::ProcessCommand& command);
  void start_if_complete(Group& group);
  void launch(Group& group);
  void attach(Group& group);
  void started(Group& group, int pid);
  void exited(Group& group, base::ExitStatus status);
  void refuse(Group& group, int code, std::string message);
  void remember_container();
  void send(Group& group, const wire::ProcessEvent& event);
  void finish(Group& group);
  void remove_later(const std::string& id);

  ProcessContext context_;
  std::map<std::string, std::unique_ptr<Group>> groups_;
  std::list<std::unique_ptr<Group>> orphans_;  // of hosts before: their processes go on
  std::optional<ContainerPlan> container_plan_;
  Process* container_ = nullptr;  // in groups_
  bool container_used_ = false;
  bool stopping_ = false;
  std::string container_cgroup_;
  std::uint64_t oom_kills_at_start_ = 0;
  std::function<void()> container_ended_;
  std::function<void()> container_started_;
  std::shared_ptr<ProcessService*> self_ = std::make_shared<ProcessService*>(this);
};

}  // namespace fc_agent
