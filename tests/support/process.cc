#include "tests/support/process.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <ostream>
#include <thread>

#include "base/fd.h"
#include "base/process.h"

namespace tests {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kShownBytes = 4000;
constexpr std::size_t kChunkBytes = 256 * 1024;
// What still arrives once the program has ended is in the pipes already; a descendant that keeps
// them open must not hold the test up.
constexpr std::chrono::milliseconds kDrainLimit{500};

std::string shortened(const std::string& text) {
  if (text.size() <= kShownBytes) {
    return text;
  }
  return text.substr(0, kShownBytes) + "… (" + std::to_string(text.size()) + " bytes)";
}

bool catches(const Command& command, int number) {
  return std::none_of(command.fds.begin(), command.fds.end(),
                      [number](const auto& pair) { return pair.second == number; });
}

}  // namespace

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << (outcome.timed_out ? "timed out, " : "") << "status " << outcome.status
             << "\nstdout: " << shortened(outcome.out) << "\nstderr: " << shortened(outcome.err);
}

struct Process::State {
  base::ChildProcess child;
  base::Fd in;
  base::Fd out;
  base::Fd err;
  base::Fd wake = base::make_event_fd(0, O_NONBLOCK);
  Clock::time_point deadline;

  mutable std::mutex mutex;
  mutable std::condition_variable changed;
  std::string pending;      // for `in`
  std::size_t written = 0;  // of `pending`
  bool close_when_written = false;
  Outcome outcome;
  bool ended = false;

  std::thread pump;

  void poke() const { base::write_all(wake, std::string_view("\1\0\0\0\0\0\0\0", 8)); }

  ~State() {
    if (pump.joinable()) {
      {
        const std::lock_guard lock(mutex);
        deadline = Clock::now();
      }
      poke();
      pump.join();
    }
  }

  // One read; false when the stream is over.
  bool read_some(const base::Fd& fd, std::string& into) {
    std::array<char, kChunkBytes> chunk;
    const ssize_t n = ::read(fd.get(), chunk.data(), chunk.size());
    if (n < 0) {
      return errno == EAGAIN || errno == EINTR;
    }
    if (n == 0) {
      return false;
    }
    const std::lock_guard lock(mutex);
    into.append(chunk.data(), static_cast<std::size_t>(n));
    changed.notify_all();
    return true;
  }

  void write_some() {
    const std::lock_guard lock(mutex);
    const ssize_t n = ::write(in.get(), pending.data() + written,
                              std::min(pending.size() - written, kChunkBytes));
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      in.reset();
    } else if (n > 0) {
      written += static_cast<std::size_t>(n);
    }
    if (!in.valid() || written == pending.size()) {
      pending.clear();
      written = 0;
    }
  }

  void run() {
    std::optional<base::ExitStatus> status;
    Clock::time_point drain_until{};
    bool killed = false;
    for (;;) {
      bool wants_write = false;
      Clock::time_point until;
      {
        const std::lock_guard lock(mutex);
        wants_write = in.valid() && !pending.empty();
        if (in.valid() && pending.empty() && close_when_written) {
          in.reset();
        }
        until = deadline;
      }
      if (status && ((!out.valid() && !err.valid()) || Clock::now() >= drain_until)) {
        break;
      }
      if (!status && !killed && Clock::now() >= until) {
        child.kill(SIGKILL);
        killed = true;
      }
      std::array<pollfd, 5> polled{{{wake.get(), POLLIN, 0},
                                    {status ? -1 : child.pidfd().get(), POLLIN, 0},
                                    {out.valid() ? out.get() : -1, POLLIN, 0},
                                    {err.valid() ? err.get() : -1, POLLIN, 0},
                                    {wants_write ? in.get() : -1, POLLOUT, 0}}};
      const auto limit = status ? drain_until : (killed ? Clock::time_point::max() : until);
      int timeout = -1;
      if (limit != Clock::time_point::max()) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(limit - Clock::now()).count();
        timeout = static_cast<int>(std::clamp<long long>(left + 1, 0, 3'600'000));
      }
      if (::poll(polled.data(), polled.size(), timeout) < 0 && errno != EINTR) {
        break;
      }
      if (polled[0].revents != 0) {
        std::array<char, 8> ignored;
        [[maybe_unused]] const ssize_t n = ::read(wake.get(), ignored.data(), ignored.size());
      }
      if (polled[2].revents != 0 && !read_some(out, outcome.out)) {
        out.reset();
      }
      if (polled[3].revents != 0 && !read_some(err, outcome.err)) {
        err.reset();
      }
      if (polled[4].revents != 0) {
        write_some();
      }
      if (polled[1].revents != 0) {
        status = child.try_wait();
        drain_until = Clock::now() + kDrainLimit;
      }
    }
    const std::lock_guard lock(mutex);
    outcome.status = status ? status->as_shell() : -1;
    outcome.timed_out = killed;
    ended = true;
    changed.notify_all();
  }
};

Process::Process(Command command) : state_(std::make_unique<State>()) {
  base::SpawnOptions spawn;
  spawn.argv = command.argv;
  spawn.fds = command.fds;
  if (!command.env.empty()) {
    std::vector<std::string> env = command.env;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      const std::string_view old = *entry;
      const std::string_view name = old.substr(0, old.find('=') + 1);
      if (std::none_of(command.env.begin(), command.env.end(),
                       [name](const std::string& ours) { return ours.starts_with(name); })) {
        env.emplace_back(old);
      }
    }
    spawn.env = std::move(env);
  }
  // The program's ends; closed here once it has its own.
  std::vector<base::Fd> theirs;
  const auto catch_stream = [&](int number, base::Fd& ours) {
    if (!catches(command, number)) {
      return;
    }
    base::Pipe pipe = base::make_pipe();
    spawn.fds.emplace_back(pipe.write.get(), number);
    theirs.push_back(std::move(pipe.write));
    ours = std::move(pipe.read);
    base::set_nonblocking(ours);
  };
  catch_stream(STDOUT_FILENO, state_->out);
  catch_stream(STDERR_FILENO, state_->err);
  if ((command.input || command.keep_input_open) && catches(command, STDIN_FILENO)) {
    base::Pipe pipe = base::make_pipe();
    spawn.fds.emplace_back(pipe.read.get(), STDIN_FILENO);
    theirs.push_back(std::move(pipe.read));
    state_->in = std::move(pipe.write);
    base::set_nonblocking(state_->in);
    state_->pending = command.input.value_or("");
    state_->close_when_written = !command.keep_input_open;
  }
  // A program that ends early breaks the pipe to its stdin.
  std::signal(SIGPIPE, SIG_IGN);
  state_->child = base::ChildProcess::spawn(spawn);
  theirs.clear();
  state_->deadline = Clock::now() + command.deadline;
  state_->pump = std::thread([state = state_.get()] { state->run(); });
}

Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;
Process::~Process() = default;

pid_t Process::pid() const {
  return state_->child.pid();
}

void Process::signal(int number) const {
  base::send_signal(state_->child.pidfd(), number);
}

void Process::write(std::string_view text) {
  {
    const std::lock_guard lock(state_->mutex);
    state_->pending += text;
  }
  state_->poke();
}

void Process::close_input() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->close_when_written = true;
  }
  state_->poke();
}

std::string Process::out() const {
  const std::lock_guard lock(state_->mutex);
  return state_->outcome.out;
}

std::string Process::err() const {
  const std::lock_guard lock(state_->mutex);
  return state_->outcome.err;
}

bool Process::wait_for_out(std::string_view text, std::chrono::milliseconds limit) const {
  std::unique_lock lock(state_->mutex);
  const auto found = [&] { return state_->outcome.out.find(text) != std::string::npos; };
  state_->changed.wait_for(lock, limit, [&] { return state_->ended || found(); });
  return found();
}

bool Process::wait_for_err(std::string_view text, std::chrono::milliseconds limit) const {
  std::unique_lock lock(state_->mutex);
  const auto found = [&] { return state_->outcome.err.find(text) != std::string::npos; };
  state_->changed.wait_for(lock, limit, [&] { return state_->ended || found(); });
  return found();
}

bool Process::ended() const {
  const std::lock_guard lock(state_->mutex);
  return state_->ended;
}

Outcome Process::wait() {
  state_->pump.join();
  return std::move(state_->outcome);
}

Outcome run(Command command) {
  return Process(std::move(command)).wait();
}

}  // namespace tests
