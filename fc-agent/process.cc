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
#include "fc-agent/helper.h"
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

std::string new_stem(const std::string& run_directory) {
  static unsigned counter = 0;
  base::make_directories(run_directory, 0700);
  return base::cat(run_directory, "/", counter++);
}

// For a program that starts a container.
base::SpawnOptions runtime_options(std::vector<std::string> argv) {
  base::SpawnOptions options;
  options.argv = std::move(argv);
  options.env = std::vector<std::string>{
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"};
  options.working_directory = "/";
  options.new_session = true;
  options.before_exec = become_killable;
  return options;
}

}  // namespace

Process::Process(ProcessContext& context, wire::ProcessStart start, ProcessIo::Streams streams,
                 Handler handler)
    : context_(context),
      start_(std::move(start)),
      io_(context.loop, start_, std::move(streams)),
      handler_(std::move(handler)) {}

Process::~Process() {
  for (const pid_t pid : {pid_, crun_pid_, podman_pid_}) {
    if (pid != 0) context_.reaper.unwatch(pid);
  }
  remove_files();
}

void Process::start(const ContainerPlan& container) {
  try {
    if (start_.kind == wire::ProcessStart::Kind::kGuest) {
      start_in_guest();
    } else if (start_.kind == wire::ProcessStart::Kind::kContainer && !container.podman.empty()) {
      start_by_podman(container);
    } else if (start_.kind == wire::ProcessStart::Kind::kHelper) {
      start_helper(container);
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
  created(pid);
  running();
}

void Process::listen_for_terminal(const std::string& stem) {
  files_.console_socket = stem + ".console";
  console_ = listen_for_console(files_.console_socket);
  // Taken as soon as it comes, for the process may ask for its window size at once.
  console_watch_ =
      context_.loop.watch(console_.get(), EPOLLIN, [this](std::uint32_t) { on_console(); });
}

// The agent's own program once more, for a process of its own.
void Process::start_helper(const ContainerPlan& container) {
  const base::Fd root =
      base::open_file(base::cat("/proc/", container.init, "/root"), O_PATH | O_DIRECTORY);
  base::SpawnOptions options;
  options.argv = {"/proc/self/exe", "helper", start_.process_json, std::to_string(container.init)};
  options.env.emplace();
  options.fds = io_.child_fds();
  options.fds.emplace_back(root.get(), kHelperRootFd);
  options.working_directory = "/";
  options.new_session = true;
  options.before_exec = become_killable;
  const pid_t pid = base::ChildProcess::spawn(options).release();
  io_.close_child_ends();
  io_.start_stdio();
  io_.start_stderr();
  created(pid);
  running();
}

void Process::start_by_crun(const ContainerPlan& container) {
  const bool exec = start_.kind == wire::ProcessStart::Kind::kExec;
  const std::string stem = new_stem(context_.run_directory);
  runtime_id_ = container.id;
  files_.pid = stem + ".pid";
  files_.log = stem + ".log";
  if (start_.tty) listen_for_terminal(stem);

  std::vector<std::string> arguments;
  if (exec) {
    files_.process = stem + ".json";
    // Not the root as the agent sees it: what the container has mounted over /etc counts.
    const std::string root = base::cat("/proc/", container.init, "/root");
    base::write_file(files_.process, with_terminal(with_user(start_.process_json, root), false,
                                                   start_.tty, start_.rows, start_.columns));
    arguments = crun_exec_arguments(context_.crun, files_, container.id);
  } else {
    set_terminal_in(container.bundle);
    arguments = crun_run_arguments(context_.crun, files_, container.bundle, container.id);
  }
  hold_ = Reaper::Hold(context_.reaper);
  spawn_crun(arguments);
  limit_start();
}

void Process::start_by_podman(const ContainerPlan& container) {
  host_name_ = container.host_name;
  const std::string stem = new_stem(context_.run_directory);
  podman_output_ = stem + ".podman";
  if (start_.tty) listen_for_terminal(stem);
  conmon_.emplace(context_.loop, context_.podman.conmon_socket,
                  [this](const ConmonRequest& request) { create_for_podman(request); });
  const base::Fd output = base::open_file(podman_output_, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  base::SpawnOptions options = runtime_options(podman_command(context_.podman, container.podman));
  options.fds = {{output.get(), STDERR_FILENO}};
  hold_ = Reaper::Hold(context_.reaper);
  podman_pid_ = base::ChildProcess::spawn(options).release();
  context_.reaper.watch(podman_pid_, [this](base::ExitStatus status) { on_podman_ended(status); });
  limit_start();
}

void Process::create_for_podman(const ConmonRequest& request) {
  runtime_id_ = request.container_id;
  bundle_ = request.bundle;
  files_.pid = request.pid_file;
  if (!host_name_.empty()) set_podman_host_name(bundle_, host_name_);
  set_terminal_in(bundle_);
  spawn_crun(create_arguments(request, files_.console_socket));
}

void Process::set_terminal_in(const std::string& bundle) const {
  if (!start_.tty) return;
  const std::string config = bundle + "/config.json";
  base::write_file(config,
                   with_terminal(base::read_file(config), true, true, start_.rows, start_.columns));
}

void Process::spawn_crun(const std::vector<std::string>& arguments) {
  base::SpawnOptions options = runtime_options(arguments);
  options.fds = io_.child_fds();
  crun_pid_ = base::ChildProcess::spawn(options).release();
  io_.close_child_ends();
  if (!start_.tty) io_.start_stdio();
  context_.reaper.watch(crun_pid_, [this](base::ExitStatus status) { on_crun_ended(status); });
}

void Process::limit_start() {
  start_timer_ = context_.loop.after(context_.crun_timeout, [this] {
    timed_out_ = true;
    for (const pid_t pid : {crun_pid_, podman_pid_}) {
      if (pid != 0) ::kill(pid, SIGKILL);
    }
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
  if (failed_) return;
  try {
    // Under Podman its end is what counts.
    if (timed_out_ && podman_pid_ != 0) return;
    if (timed_out_) return fail(125, too_slow("crun"));
    if (!status.success()) return on_crun_failed(status);
    const pid_t pid = read_pid_file(files_.pid);
    if (start_.tty) {
      if (console_watch_.active()) on_console();
      if (!io_.has_terminal()) throw base::Error("crun: it sent no terminal");
      // Podman has more to do between start and end: no output may be ahead of the word that the
      // container runs, by which the user's terminal becomes raw.
      if (!conmon_) io_.start_stdio();
    }
    io_.start_stderr();
    created(pid);
    if (!conmon_) return running();
    remember_podman_container(context_.podman, runtime_id_,
                              base::read_file(bundle_ + "/config.json"));
    conmon_->created(pid);
  } catch (const std::exception& error) {
    // Podman then takes back what it has done, and tells why.
    if (conmon_) return conmon_->refuse(error.what());
    fail(125, error.what());
  }
}

void Process::on_crun_failed(base::ExitStatus status) {
  const std::string fallback = status.signal != 0 ? base::cat("killed by signal ", status.signal)
                                                  : base::cat("exit status ", status.code);
  // Podman has named a log to crun, and reads in it what went wrong.
  if (conmon_) return conmon_->refuse(base::cat("crun: ", fallback));
  const auto log = base::try_read_file(files_.log, kMaxLogBytes);
  const CrunFailure failure = classify_crun_failure(log.value_or(""), fallback);
  fail(failure.code, failure.message);
}

void Process::on_podman_ended(base::ExitStatus status) {
  podman_pid_ = 0;
  conmon_.reset();
  const std::string output =
      base::try_read_file(podman_output_, kMaxLogBytes).value_or(std::string());
  remove_files();
  if (running_ || failed_) return;
  if (status.success() && pid_ != 0) {
    running();
    if (early_end_) finish(*early_end_);
    return;
  }
  if (pid_ != 0 && !early_end_) {
    // Its end is nobody's news any more.
    context_.reaper.unwatch(pid_);
    ::kill(pid_, SIGKILL);
  }
  pid_ = 0;
  if (timed_out_) return fail(125, too_slow("podman"));
  // Its own words for its own statuses; what it would pass on of a container cannot come here.
  const bool own_code = status.code > 125 && status.code <= 127;
  fail(own_code ? status.code : 125, podman_failure(output, "it did not start the container"));
}

void Process::created(pid_t pid) {
  pid_ = pid;
  context_.reaper.watch(pid, [this](base::ExitStatus status) { on_ended(status); });
  hold_.release();
  if (handler_.on_created) handler_.on_created(pid);
}

void Process::running() {
  running_ = true;
  start_timer_.reset();
  const bool waits_for_podman = start_.tty && !bundle_.empty();
  if (podman_pid_ == 0) remove_files();
  for (const int number : std::exchange(early_signals_, {})) signal(number);
  const std::weak_ptr<Process*> weak = self_;
  handler_.on_started(pid_);
  if (waits_for_podman && !weak.expired()) io_.start_stdio();
}

void Process::on_ended(base::ExitStatus status) {
  if (!running_) {
    // It is no more: nothing may be sent to it.
    early_signals_.clear();
    early_end_ = status;
    // Podman kills what it has made and cannot start: its word is waited for. Other ends are the
    // container's own doing, so it was started.
    if (status.signal == SIGKILL) return;
    running();
  }
  finish(status);
}

void Process::finish(base::ExitStatus status) {
  pid_ = 0;
  const std::weak_ptr<Process*> weak = self_;
  io_.finish([weak, status] {
    if (const auto self = weak.lock()) (*self)->handler_.on_exited(status);
  });
}

std::string Process::too_slow(const char* program) const {
  return base::cat(program, ": it did not finish within ", context_.crun_timeout.count(), " ms");
}

void Process::fail(int code, std::string message) {
  if (std::exchange(failed_, true)) return;
  start_timer_.reset();
  console_watch_.reset();
  console_.reset();
  conmon_.reset();
  remove_files();
  hold_.release();
  const std::weak_ptr<Process*> weak = self_;
  context_.loop.post([weak, code, message = std::move(message)] {
    if (const auto self = weak.lock()) (*self)->handler_.on_failed(code, message);
  });
}

void Process::remove_files() {
  // Podman's pid file is podman's.
  if (!bundle_.empty()) files_.pid.clear();
  for (auto* path :
       {&files_.pid, &files_.log, &files_.process, &files_.console_socket, &podman_output_}) {
    if (!path->empty()) ::unlink(path->c_str());
    path->clear();
  }
}

void Process::signal(int number) {
  if (running_) {
    if (pid_ != 0) ::kill(pid_, number);
  } else if (alive() && early_signals_.size() < kMaxEarlySignals) {
    early_signals_.push_back(number);
  }
}

void Process::resize(std::uint16_t rows, std::uint16_t columns) {
  start_.rows = rows;
  start_.columns = columns;
  io_.resize(rows, columns);
}

}  // namespace fc_agent
