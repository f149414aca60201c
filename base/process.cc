#include "base/process.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/files.h"

namespace base {
namespace {

constexpr std::size_t kMaxMappedFds = 64;

int pidfd_open(pid_t pid) {
  return static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
}

// argv or envp for exec: pointers into `strings`, which has to outlive them.
std::vector<char*> exec_vector(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (const auto& text : strings) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

std::string resolve_program(const std::string& name) {
  const std::string found = find_program(name);
  return found.empty() ? name : found;
}

struct ChildPlan {
  const char* program;
  char* const* argv;
  char* const* envp;
  const char* working_directory;
  const SpawnOptions* options;
  int null_fd;
  int error_fd;
  pid_t parent;
};

// SAFETY: runs between fork and exec: system calls only, no allocation, no locks.
[[noreturn]] void fail_child(int error_fd, int errnum) {
  [[maybe_unused]] const ssize_t n = ::write(error_fd, &errnum, sizeof errnum);
  ::_exit(127);
}

// SAFETY: struct sigaction of the kernel's rt_sigaction(2): all zero is SIG_DFL without flags.
void reset_signal(int signal) {
  struct {
    void* handler;
    unsigned long flags;
    void* restorer;
    unsigned long mask;
  } action{};
  ::syscall(SYS_rt_sigaction, signal, &action, nullptr, sizeof action.mask);
}

[[noreturn]] void run_child(const ChildPlan& plan) {
  const SpawnOptions& options = *plan.options;
  int error_fd = plan.error_fd;

  // Handlers of ours must not run in the child; exec keeps ignored signals and the mask. glibc keeps
  // two real-time signals to itself and refuses them: a caller that ignores those is asked of the
  // kernel directly.
  for (int signal = 1; signal < NSIG; ++signal) reset_signal(signal);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  if (options.new_session && ::setsid() < 0) fail_child(error_fd, errno);

  // First everything is moved above the highest target number, so that no dup2 overwrites a source
  // that is still needed.
  int floor = 3;
  for (const auto& [from, to] : options.fds) floor = std::max(floor, to + 1);
  std::array<int, kMaxMappedFds> sources;
  for (std::size_t i = 0; i < options.fds.size(); ++i) {
    sources[i] = ::fcntl(options.fds[i].first, F_DUPFD_CLOEXEC, floor);
    if (sources[i] < 0) fail_child(error_fd, errno);
  }
  const int null_fd = ::fcntl(plan.null_fd, F_DUPFD_CLOEXEC, floor);
  const int moved_error_fd = ::fcntl(error_fd, F_DUPFD_CLOEXEC, floor);
  if (null_fd < 0 || moved_error_fd < 0) fail_child(error_fd, errno);
  error_fd = moved_error_fd;
  if (!options.inherit_stdio) {
    for (int fd = 0; fd < 3; ++fd) {
      if (::dup2(null_fd, fd) < 0) fail_child(error_fd, errno);
    }
  }
  std::array<int, kMaxMappedFds + 4> keep{0, 1, 2, error_fd};
  std::size_t kept = 4;
  for (std::size_t i = 0; i < options.fds.size(); ++i) {
    if (::dup2(sources[i], options.fds[i].second) < 0) fail_child(error_fd, errno);
    keep[kept++] = options.fds[i].second;
  }
  close_from(3, std::span(keep.data(), kept));

  if (*plan.working_directory != '\0' && ::chdir(plan.working_directory) != 0) {
    fail_child(error_fd, errno);
  }
  if (options.before_exec) {
    const int errnum = options.before_exec();
    if (errnum != 0) fail_child(error_fd, errnum);
  }
  // After before_exec: a change of credentials there would have cleared it.
  if (options.parent_death_signal != 0) {
    const int errnum = die_with_parent(plan.parent, options.parent_death_signal);
    if (errnum != 0) fail_child(error_fd, errnum);
  }
  ::execve(plan.program, plan.argv, plan.envp);
  fail_child(error_fd, errno);
}

void append_tail(std::string& tail, std::string_view data) {
  constexpr std::size_t kTailBytes = 64 * 1024;
  tail += data;
  if (tail.size() > kTailBytes) tail.erase(0, tail.size() - kTailBytes);
}

}  // namespace

ExitStatus exit_status_from_wait(int wait_status) {
  if (WIFSIGNALED(wait_status)) return {0, WTERMSIG(wait_status)};
  return {WEXITSTATUS(wait_status), 0};
}

int die_with_parent(pid_t expected_parent, int signal) noexcept {
  if (::prctl(PR_SET_PDEATHSIG, signal) != 0) return errno;
  // The parent may have gone before the line above.
  if (::getppid() != expected_parent) ::raise(signal);
  return 0;
}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      pidfd_(std::move(other.pidfd_)),
      status_(std::exchange(other.status_, std::nullopt)) {}

ChildProcess& ChildProcess::operator=(ChildProcess&& other) noexcept {
  if (this != &other) {
    ChildProcess old(std::move(*this));
    pid_ = std::exchange(other.pid_, -1);
    pidfd_ = std::move(other.pidfd_);
    status_ = std::exchange(other.status_, std::nullopt);
  }
  return *this;
}

ChildProcess::~ChildProcess() {
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
}

ChildProcess ChildProcess::spawn(const SpawnOptions& options) {
  if (options.argv.empty()) throw Error("starting a process: no program given");
  if (options.fds.size() > kMaxMappedFds) throw Error("starting a process: too many descriptors");

  const std::string program = resolve_program(options.argv[0]);
  const std::vector<char*> argv = exec_vector(options.argv);
  std::vector<char*> env;
  if (options.env) env = exec_vector(*options.env);
  const Fd null_fd = open_file("/dev/null", O_RDWR);
  Pipe error_pipe = make_pipe();

  ChildPlan plan{};
  plan.program = program.c_str();
  plan.argv = argv.data();
  plan.envp = options.env ? env.data() : environ;
  plan.working_directory = options.working_directory.c_str();
  plan.options = &options;
  plan.null_fd = null_fd.get();
  plan.error_fd = error_pipe.write.get();
  plan.parent = ::getpid();

  // Signals wait until the child has default handlers, or one of ours could run in the child.
  sigset_t all;
  sigset_t old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  const pid_t pid = ::fork();
  if (pid == 0) run_child(plan);
  const int fork_errno = errno;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) throw Error(fork_errno, "starting", options.argv[0]);

  ChildProcess child;
  child.pid_ = pid;
  child.pidfd_ = Fd(pidfd_open(pid));
  if (!child.pidfd_) throw_errno("opening pidfd of", options.argv[0]);

  error_pipe.write.reset();
  int child_errno = 0;
  ssize_t n;
  while ((n = ::read(error_pipe.read.get(), &child_errno, sizeof child_errno)) < 0 &&
         errno == EINTR) {
  }
  if (n > 0) {
    child.wait();
    throw Error(child_errno, "starting", options.argv[0]);
  }
  return child;
}

void ChildProcess::kill(int signal) const {
  if (running()) ::kill(pid_, signal);
}

std::optional<ExitStatus> ChildProcess::try_wait() {
  if (!running()) return status_;
  int status = 0;
  const pid_t pid = ::waitpid(pid_, &status, WNOHANG);
  if (pid == pid_) status_ = exit_status_from_wait(status);
  return status_;
}

std::optional<ExitStatus> ChildProcess::wait(std::chrono::milliseconds timeout) {
  if (!running()) return status_;
  if (!wait_for(pidfd_.get(), POLLIN, timeout)) return std::nullopt;
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0) {
    if (errno != EINTR) throw_errno("waiting for process", std::to_string(pid_));
  }
  status_ = exit_status_from_wait(status);
  return status_;
}

pid_t ChildProcess::release() {
  pidfd_.reset();
  return std::exchange(pid_, -1);
}

CommandResult run_command(SpawnOptions spawn, const CommandOptions& options) {
  using Clock = std::chrono::steady_clock;
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  spawn.fds.emplace_back(out.write.get(), 1);
  spawn.fds.emplace_back(err.write.get(), 2);
  ChildProcess child = ChildProcess::spawn(spawn);
  out.write.reset();
  err.write.reset();

  CommandResult result;
  std::string line;
  const auto deadline = Clock::now() + options.timeout;
  auto next_tick = Clock::now() + options.tick_interval;
  while (out.read || err.read) {
    std::array<pollfd, 4> entries{
        {{out.read.get(), POLLIN, 0},
         {err.read.get(), POLLIN, 0},
         {options.cancellation ? options.cancellation->fd() : -1, POLLIN, 0},
         {child.pidfd().get(), POLLIN, 0}}};
    const auto until = options.tick ? std::min(deadline, next_tick) : deadline;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    const int n = ::poll(entries.data(), entries.size(), static_cast<int>(std::max<long>(0, left)));
    if (n < 0 && errno != EINTR) throw_errno("waiting for", spawn.argv[0]);
    if (n > 0 && entries[2].revents != 0) throw Cancelled{};
    const auto now = Clock::now();
    if (now >= deadline) throw Error(ETIMEDOUT, "running", spawn.argv[0]);
    if (options.tick && now >= next_tick) {
      next_tick = now + options.tick_interval;
      if (auto refusal = options.tick()) throw Error(*refusal);
    }
    if (n <= 0) continue;
    // It has ended and its output is read; a process it left behind may hold the pipes for ever.
    if (entries[3].revents != 0 && entries[0].revents == 0 && entries[1].revents == 0) break;
    std::array<char, 16384> buffer;
    if (entries[0].revents != 0) {
      const ssize_t got = ::read(out.read.get(), buffer.data(), buffer.size());
      if (got <= 0) {
        out.read.reset();
      } else {
        result.out.append(buffer.data(), static_cast<std::size_t>(got));
        if (result.out.size() > options.max_output_bytes) {
          throw Error(cat("running ", quoted(spawn.argv[0]), ": it wrote more than ",
                          options.max_output_bytes, " bytes"));
        }
      }
    }
    if (entries[1].revents != 0) {
      const ssize_t got = ::read(err.read.get(), buffer.data(), buffer.size());
      if (got <= 0) {
        err.read.reset();
      } else {
        const std::string_view data(buffer.data(), static_cast<std::size_t>(got));
        append_tail(result.err, data);
        if (options.on_stderr_line) {
          for (const char c : data) {
            if (c == '\n' || c == '\r') {
              if (!line.empty()) options.on_stderr_line(std::exchange(line, {}));
            } else if (line.size() < 4096) {
              line += c;
            }
          }
        }
      }
    }
  }
  if (!line.empty() && options.on_stderr_line) options.on_stderr_line(line);
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
  const auto status = child.wait(std::max(left, std::chrono::milliseconds(1)));
  if (!status) throw Error(ETIMEDOUT, "running", spawn.argv[0]);
  result.status = *status;
  return result;
}

CommandResult run_command_checked(SpawnOptions spawn, const CommandOptions& options) {
  const std::string name = spawn.argv.empty() ? "" : spawn.argv[0];
  CommandResult result = run_command(std::move(spawn), options);
  if (result.status.success()) return result;
  std::string_view tail = result.err;
  while (tail.ends_with('\n')) tail.remove_suffix(1);
  tail = tail.substr(tail.rfind('\n') + 1);
  std::string text = cat("running ", quoted(name), ": ");
  if (result.status.signal != 0) {
    text += cat("killed by signal ", result.status.signal);
  } else {
    text += cat("exit status ", result.status.code);
  }
  if (!tail.empty()) text += cat(": ", tail.substr(0, 1000));
  throw Error(text);
}

const std::string& boot_id() {
  static const std::string id = [] {
    std::string text = read_file("/proc/sys/kernel/random/boot_id", 256);
    while (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
  }();
  return id;
}

namespace {

struct ProcStat {
  char state = 0;
  std::uint64_t start_time_ticks = 0;
};

std::optional<ProcStat> read_proc_stat(pid_t pid) {
  std::optional<std::string> text;
  try {
    text = try_read_file(cat("/proc/", pid, "/stat"), 8192);
  } catch (const Error&) {
    return std::nullopt;  // ESRCH while reading: it has just gone
  }
  if (!text) return std::nullopt;
  // The name in parentheses may itself hold spaces and parentheses: fields start after the last.
  const auto close = text->rfind(')');
  if (close == std::string::npos || close + 2 >= text->size()) return std::nullopt;
  ProcStat stat;
  stat.state = (*text)[close + 2];
  std::size_t at = close + 2;
  for (int field = 3; field < 22; ++field) {
    at = text->find(' ', at);
    if (at == std::string::npos) return std::nullopt;
    ++at;
  }
  std::from_chars(text->data() + at, text->data() + text->size(), stat.start_time_ticks);
  return stat;
}

}  // namespace

std::optional<ProcessId> identify_process(pid_t pid) {
  const auto stat = read_proc_stat(pid);
  if (!stat) return std::nullopt;
  return ProcessId{pid, stat->start_time_ticks, boot_id()};
}

bool process_alive(const ProcessId& id) {
  if (id.pid <= 0 || id.boot_id != boot_id()) return false;
  const auto stat = read_proc_stat(id.pid);
  return stat && stat->start_time_ticks == id.start_time_ticks && stat->state != 'Z' &&
         stat->state != 'X';
}

Fd open_process(const ProcessId& id) {
  if (id.pid <= 0) return {};
  Fd pidfd(pidfd_open(id.pid));
  // Checked after the descriptor exists, so the process cannot be replaced in between.
  if (!pidfd || !process_alive(id)) return {};
  return pidfd;
}

void send_signal(const Fd& pidfd, int signal) {
  if (::syscall(SYS_pidfd_send_signal, pidfd.get(), signal, nullptr, 0) != 0 && errno != ESRCH) {
    throw_errno("sending signal", std::to_string(signal));
  }
}

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return ::access(name.c_str(), X_OK) == 0 ? name : "";
  const char* path = std::getenv("PATH");
  std::string_view rest =
      path != nullptr ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  while (!rest.empty()) {
    const auto colon = rest.find(':');
    std::string candidate = cat(rest.substr(0, colon), "/", name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == std::string_view::npos) break;
    rest.remove_prefix(colon + 1);
  }
  return {};
}

std::string find_own_program(const std::string& name) {
  std::vector<std::string> folders;
  if (const char* dir = std::getenv("FCVM_LIBEXEC_DIR")) folders.emplace_back(dir);
  std::array<char, PATH_MAX> self;
  const ssize_t n = ::readlink("/proc/self/exe", self.data(), self.size());
  if (n > 0) {
    const std::string path(self.data(), static_cast<std::size_t>(n));
    const std::string folder = path.substr(0, path.rfind('/'));
    folders.push_back(folder);
    folders.push_back(folder + "/../libexec/fcvm");
  }
  for (const auto& folder : folders) {
    const std::string candidate = cat(folder, "/", name);
    if (::access(candidate.c_str(), X_OK) == 0) return canonical_path(candidate);
  }
  Error error(ENOENT, "finding program", name);
  error.set_hint("set FCVM_LIBEXEC_DIR to the folder that holds it, or install fcvm again");
  throw error;
}

}  // namespace base
