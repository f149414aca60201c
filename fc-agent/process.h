#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/process.h"
#include "fc-agent/conmon.h"
#include "fc-agent/crun.h"
#include "fc-agent/podman.h"
#include "fc-agent/process_io.h"
#include "fc-agent/reaper.h"
#include "wire/process.h"

namespace fc_agent {

// What processes are started with.
struct ProcessContext {
  base::EventLoop& loop;
  Reaper& reaper;
  Crun crun;
  Podman podman;
  // For the files of each start; made when missing, mode 0700.
  std::string run_directory = "/run/fcvm";
  // A runtime that takes longer is stuck.
  std::chrono::milliseconds crun_timeout = std::chrono::minutes(2);
};

// The container of this boot, as the plan had it.
struct ContainerPlan {
  std::string id;
  std::string bundle;               // holds config.json
  std::vector<std::string> podman;  // not empty: podman's arguments, which make it do it all
  pid_t init = 0;                   // its first process, once it is there
  std::string host_name{};          // of a container of podman's; empty: as podman has it
};

// One process started for the host: a container's first, a further one in it, or one in the guest.
// Loop thread. Destroying it lets the process go on unobserved.
class Process {
 public:
  // None of them may destroy the Process.
  struct Handler {
    // Its process id is known; it may not run yet. Not for a process in the guest.
    std::function<void(int pid)> on_created;
    std::function<void(int pid)> on_started;
    // After all output has been handed to the streams. The last call.
    std::function<void(base::ExitStatus status)> on_exited;
    // It never ran: 125, 126 or 127 and why. The last call.
    std::function<void(int code, std::string message)> on_failed;
  };

  Process(ProcessContext& context, wire::ProcessStart start, ProcessIo::Streams streams,
          Handler handler);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  // Starts it; what goes wrong arrives at on_failed, from the loop. kContainer and kExec are for
  // `container`.
  void start(const ContainerPlan& container);

  // 0 until it runs and after it has ended.
  pid_t pid() const { return running_ ? pid_ : 0; }
  // As pid(), and known as soon as it was made.
  pid_t created_pid() const { return pid_; }
  // It runs or is about to.
  bool alive() const { return pid_ != 0 || crun_pid_ != 0 || podman_pid_ != 0; }
  // By what name crun knows the container this is the first process of.
  const std::string& runtime_id() const { return runtime_id_; }
  // To the process itself, once it runs; nothing happens when it has ended.
  void signal(int number);
  void resize(std::uint16_t rows, std::uint16_t columns);
  void close_stdin() { io_.close_stdin(); }
  // The container's: its streams go to another host from here on. Output that nobody took is lost.
  void reattach(ProcessIo::Streams streams) { io_.reattach(std::move(streams)); }

 private:
  void start_in_guest();
  void start_helper(const ContainerPlan& container);
  void start_by_crun(const ContainerPlan& container);
  void start_by_podman(const ContainerPlan& container);
  void create_for_podman(const ConmonRequest& request);
  void listen_for_terminal(const std::string& stem);
  void set_terminal_in(const std::string& bundle) const;
  void spawn_crun(const std::vector<std::string>& arguments);
  void limit_start();
  void on_console();
  void on_crun_ended(base::ExitStatus status);
  void on_podman_ended(base::ExitStatus status);
  void on_crun_failed(base::ExitStatus status);
  void created(pid_t pid);
  void running();
  void on_ended(base::ExitStatus status);
  void finish(base::ExitStatus status);
  std::string too_slow(const char* program) const;
  void fail(int code, std::string message);
  void remove_files();

  ProcessContext& context_;
  wire::ProcessStart start_;
  ProcessIo io_;
  Handler handler_;
  pid_t pid_ = 0;
  bool running_ = false;  // it was started, and not only made
  bool failed_ = false;
  std::string runtime_id_;
  std::string host_name_;  // the container's, made by podman
  std::string bundle_;     // podman's
  pid_t crun_pid_ = 0;
  bool timed_out_ = false;
  pid_t podman_pid_ = 0;
  std::string podman_output_;                  // the file
  std::optional<ConmonServer> conmon_;         // while podman is at it
  std::optional<base::ExitStatus> early_end_;  // it ended before podman had said that it started it
  base::EventLoop::Registration start_timer_;
  std::vector<int> early_signals_;  // came before it ran
  CrunFiles files_;
  base::Fd console_;
  base::EventLoop::Registration console_watch_;
  Reaper::Hold hold_;
  // Callbacks of the loop and the reaper hold this weakly: they may come after the end of this.
  std::shared_ptr<Process*> self_ = std::make_shared<Process*>(this);
};

}  // namespace fc_agent
