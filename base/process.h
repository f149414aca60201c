#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace base {

class Cancellation;

// How a process ended.
struct ExitStatus {
  int code = 0;    // exit code, when signal == 0
  int signal = 0;  // the signal that ended it, or 0

  // The shell's and podman's convention: the code, or 128 + signal.
  int as_shell() const { return signal != 0 ? 128 + signal : code; }
  bool success() const { return code == 0 && signal == 0; }
};

ExitStatus exit_status_from_wait(int wait_status);

struct SpawnOptions {
  std::vector<std::string> argv;                // argv[0] is looked up in PATH unless it has a '/'
  std::optional<std::vector<std::string>> env;  // NAME=value; the caller's own when absent
  std::string working_directory;
  // Descriptors the child gets: (ours, number in the child). 0, 1 and 2 not named here are
  // /dev/null; every other descriptor of ours is closed in the child.
  std::vector<std::pair<int, int>> fds;
  int parent_death_signal = 0;  // fires when the spawning *thread* ends
  bool new_session = false;
  bool inherit_stdio = false;  // 0, 1 and 2 not named in `fds` stay ours instead of /dev/null
  // Runs in the child after its descriptors are in place and before exec; returns 0 or an errno.
  // Only async-signal-safe work that allocates nothing.
  std::function<int()> before_exec;
};

// Owns a child: reaps it once, kills it with SIGKILL when destroyed while it runs.
class ChildProcess {
 public:
  ChildProcess() = default;
  ChildProcess(ChildProcess&&) noexcept;
  ChildProcess& operator=(ChildProcess&&) noexcept;
  ~ChildProcess();

  // Throws Error when fork or exec fails (the child's errno, with argv[0]).
  static ChildProcess spawn(const SpawnOptions& options);

  pid_t pid() const { return pid_; }
  // Readable when the child has ended.
  const Fd& pidfd() const { return pidfd_; }
  bool running() const { return pid_ > 0 && !status_; }
  void kill(int signal) const;
  // Reaps if it has ended.
  std::optional<ExitStatus> try_wait();
  // Waits until it ends; empty on time-out (a negative timeout waits for ever).
  std::optional<ExitStatus> wait(std::chrono::milliseconds timeout = std::chrono::milliseconds(-1));
  // Gives the child up: it is neither killed nor reaped by this object. Returns the pid.
  pid_t release();

 private:
  pid_t pid_ = -1;
  Fd pidfd_;
  std::optional<ExitStatus> status_;
};

struct CommandResult {
  ExitStatus status;
  std::string out;
  std::string err;  // the last 64 KiB
};

struct CommandOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  std::size_t max_output_bytes = 16 << 20;
  const Cancellation* cancellation = nullptr;  // cancelled: the child is killed, Cancelled thrown
  // Called every `tick_interval` while the command runs; returning an Error kills it.
  std::function<std::optional<std::string>()> tick;
  std::chrono::milliseconds tick_interval = std::chrono::milliseconds(200);
  // Each line the command writes to its stderr, without the newline.
  std::function<void(const std::string&)> on_stderr_line;
};

// Runs a helper program to its end with stdin /dev/null (unless named in spawn.fds), collecting
// stdout and stderr. Throws Error on spawn failure, time-out or too much output; an exit status
// other than 0 is returned, not thrown.
CommandResult run_command(SpawnOptions spawn, const CommandOptions& options = {});
// As run_command, and throws with the last line of stderr when the status is not 0.
CommandResult run_command_checked(SpawnOptions spawn, const CommandOptions& options = {});

// A process named so that a reused pid is never mistaken for it.
struct ProcessId {
  pid_t pid = 0;
  std::uint64_t start_time_ticks = 0;  // field 22 of /proc/<pid>/stat, proc(5)
  std::string boot_id;                 // /proc/sys/kernel/random/boot_id

  bool operator==(const ProcessId&) const = default;
};

// Empty when there is no such process.
std::optional<ProcessId> identify_process(pid_t pid);
// True while exactly that process lives (a zombie does not).
bool process_alive(const ProcessId& id);
// A pidfd of exactly that process; empty when it is gone.
Fd open_process(const ProcessId& id);
void send_signal(const Fd& pidfd, int signal);
const std::string& boot_id();

// SIGKILL at the parent's death for the calling process, checked against a parent that has already
// gone. Async-signal-safe. Returns 0 or an errno.
int die_with_parent(pid_t expected_parent, int signal) noexcept;

// The program a command named `name` starts: the first in PATH, or `name` itself when it has a '/'.
// Empty when there is none that may be executed.
std::string find_program(const std::string& name);

// The file of a helper program of ours: in $FCVM_LIBEXEC_DIR, beside the running program, or in
// ../libexec/fcvm. Throws Error with a hint when it is nowhere.
std::string find_own_program(const std::string& name);

}  // namespace base
