#include "fc-agent/process.h"

#include <fcntl.h>
#include <grp.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <exception>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "fc-agent/exec_user.h"
#include "fc-agent/oci_process.h"
#include "fc-agent/terminal.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxEarlySignals = 16;
constexpr std::size_t kMaxLogBytes = 256 * 1024;

// The agent itself is exempt from the kernel's OOM killer; what it starts is not.
// SAFETY: between fork and exec: system calls only.
int become_killable() {
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  [[maybe_unused]] const ssize_t n = ::write(fd, "0", 1);
  ::close(fd);
  return 0;
}

// SAFETY: between fork and exec. Raw system calls: glibc's wrappers change all threads of a process,
// and the threads they would wait for do not exist in this one.
int become_user(const OciProcess& process) {
  if (process.uid == 0 && process.gid == 0 && process.additional_gids.empty()) return 0;
  if (::syscall(SYS_setgroups, process.additional_gids.size(), process.additional_gids.data()) !=
          0 ||
      ::syscall(SYS_setresgid, process.gid, process.gid, process.gid) != 0 ||
      ::syscall(SYS_setresuid, process.uid, process.uid, process.uid) != 0) {
    return errno;
  }
  return 0;
}

int code_of_spawn_error(int errnum) {
  if (errnum == ENOENT || errnum == ENOTDIR) return 127;
  if (errnum == EACCES || errnum == EPERM || errnum == ENOEXEC || errnum == EISDIR) return 126;
  return 125;
}

pid_t read_pid_file(const std::string& path) {
  const std::string text = base::read_file(path, 64);
  pid_t pid = 0;
  std::from_chars(text.data(), text.data() + text.size(), pid);
  if (pid <= 1) throw base::Error(base::cat("crun: its pid file holds ", base::quoted(text)));
  return pid;
}

}  // namespace

Process::Process(ProcessContext& context, wire::ProcessStart start, ProcessIo::Streams streams,
                 Handler handler)
    : context_(context),
      start_(std::move(start)),
      io_(context.loop, start_, std::move(streams)),
      handler_(std::move(handler)) {}

Process::~Process() {
  if (pid_ != 0) context_.reaper.unwatch(pid_);
  if (crun_pid_ != 0) context_.reaper.unwatch(crun_pid_);
  remove_files();
}

void Process::start(const ContainerPlan& container) {
  try {
    if (start_.kind == wire::ProcessStart::Kind::kGuest) {
      start_in_guest();
    } else {
      start_by_crun(container);
    }
  } catch (const base::Error& error) {
    const bool exec_failed = start_.kind == wire::ProcessStart::Kind::kGuest;
    fail(exec_failed ? code_of_spawn_error(error.errnum()) : 125, error.what());
  } catch (const std::exception& error) {
    fail(125, error.what());
  }
}

void Process::start_in_guest() {
  const OciProcess process = parse_oci_process(start_.process_json);
  base::SpawnOptions options;
  options.argv = process.args;
  options.argv[0] = find_executable(process.args[0], process.env);
  // Without a '/' it would be looked for in the agent's PATH.
  if (options.argv[0].find('/') == std::string::npos) {
    throw base::Error(ENOENT, "starting", process.args[0]);
  }
  options.env = process.env;
  options.working_directory = process.cwd;
  options.new_session = true;

  Terminal terminal;
  if (start_.tty) {
    terminal = open_terminal();
    set_window_size(terminal.master, start_.rows, start_.columns);
    if (::fchown(terminal.slave.get(), process.uid, static_cast<gid_t>(-1)) != 0) {
      base::throw_errno("giving the terminal to its user");
    }
    for (const int number : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
      options.fds.emplace_back(terminal.slave.get(), number);
    }
    io_.set_terminal(std::move(terminal.master));
  } else {
    io_.give_to_user(process.uid, process.gid);
    options.fds = io_.child_fds();
  }
  options.before_exec = [&process, tty = start_.tty] {
    become_killable();
    if (tty && ::ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0) return errno;
    return become_user(process);
  };
  const pid_t pid = base::ChildProcess::spawn(options).release();
  io_.close_child_ends();
  io_.start_stdio();
  io_.start_stderr();
  running(pid);
}

void Process::start_by_crun(const ContainerPlan& container) {
  static unsigned counter = 0;
  const bool exec = start_.kind == wire::ProcessStart::Kind::kExec;
  base::make_directories(context_.run_directory, 0700);
  const std::string stem = base::cat(context_.run_directory, "/", counter++);
  files_.pid = stem + ".pid";
  files_.log = stem + ".log";
  if (start_.tty) {
    files_.console_socket = stem + ".console";
    console_ = listen_for_console(files_.console_socket);
    // Taken as soon as it comes, for the process may ask for its window size at once.
    console_watch_ =
        context_.loop.watch(console_.get(), EPOLLIN, [this](std::uint32_t) { on_console(); });
  }

  base::SpawnOptions options;
  if (exec) {
    files_.process = stem + ".json";
    base::write_file(files_.process, with_terminal(with_user(start_.process_json, container.root),
                                                   false, start_.tty, start_.rows, start_.columns));
    options.argv = crun_exec_arguments(context_.crun, files_, container.id);
  } else {
    if (start_.tty) {
      const std::string config = container.bundle + "/config.json";
      base::write_file(
          config, with_terminal(base::read_file(config), true, true, start_.rows, start_.columns));
    }
    options.argv = crun_run_arguments(context_.crun, files_, container.bundle, container.id);
  }
  options.env = std::vector<std::string>{
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"};
  options.fds = io_.child_fds();
  options.working_directory = std::string("/");
  options.new_session = true;
  options.before_exec = become_killable;

  hold_ = Reaper::Hold(context_.reaper);
  crun_pid_ = base::ChildProcess::spawn(options).release();
  io_.close_child_ends();
  if (!start_.tty) io_.start_stdio();
  context_.reaper.watch(crun_pid_, [this](base::ExitStatus status) { on_crun_ended(status); });
  crun_timer_ = context_.loop.after(context_.crun_timeout, [this] {
    crun_timed_out_ = true;
    ::kill(crun_pid_, SIGKILL);
  });
}

void Process::on_console() {
  console_watch_.reset();
  try {
    base::Fd master = receive_console(console_);
    set_window_size(master, start_.rows, start_.columns);
    io_.set_terminal(std::move(master));
  } catch (const base::Error& error) {
    base::log_error(error.what());
  }
  console_.reset();
}

void Process::on_crun_ended(base::ExitStatus status) {
  crun_pid_ = 0;
  crun_timer_.reset();
  try {
    if (crun_timed_out_) {
      return fail(
          125, base::cat("crun: it did not finish within ", context_.crun_timeout.count(), " ms"));
    }
    if (!status.success()) {
      const auto log = base::try_read_file(files_.log, kMaxLogBytes);
      const std::string fallback = status.signal != 0
                                       ? base::cat("killed by signal ", status.signal)
                                       : base::cat("exit status ", status.code);
      const CrunFailure failure = classify_crun_failure(log.value_or(""), fallback);
      return fail(failure.code, failure.message);
    }
    const pid_t pid = read_pid_file(files_.pid);
    if (start_.tty) {
      if (console_watch_.active()) on_console();
      if (!io_.has_terminal()) throw base::Error("crun: it sent no terminal");
      io_.start_stdio();
    }
    io_.start_stderr();
    running(pid);
  } catch (const std::exception& error) {
    fail(125, error.what());
  }
}

void Process::running(pid_t pid) {
  pid_ = pid;
  remove_files();
  context_.reaper.watch(pid, [this](base::ExitStatus status) {
    pid_ = 0;
    const std::weak_ptr<Process*> weak = self_;
    io_.finish([weak, status] {
      if (const auto self = weak.lock()) (*self)->handler_.on_exited(status);
    });
  });
  hold_.release();
  for (const int number : std::exchange(early_signals_, {})) signal(number);
  handler_.on_started(pid);
}

void Process::fail(int code, std::string message) {
  console_watch_.reset();
  console_.reset();
  remove_files();
  hold_.release();
  const std::weak_ptr<Process*> weak = self_;
  context_.loop.post([weak, code, message = std::move(message)] {
    if (const auto self = weak.lock()) (*self)->handler_.on_failed(code, message);
  });
}

void Process::remove_files() {
  for (auto* path : {&files_.pid, &files_.log, &files_.process, &files_.console_socket}) {
    if (!path->empty()) ::unlink(path->c_str());
    path->clear();
  }
}

void Process::signal(int number) {
  if (pid_ != 0) {
    ::kill(pid_, number);
  } else if (crun_pid_ != 0 && early_signals_.size() < kMaxEarlySignals) {
    early_signals_.push_back(number);
  }
}

void Process::resize(std::uint16_t rows, std::uint16_t columns) {
  start_.rows = rows;
  start_.columns = columns;
  io_.resize(rows, columns);
}

}  // namespace fc_agent
