#include "tests/support/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "base/error.h"

namespace tests {
namespace {

using Clock = std::chrono::steady_clock;

winsize make_size(unsigned short rows, unsigned short columns) {
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  return size;
}

}  // namespace

Terminal::Terminal(const std::vector<std::string>& argv, unsigned short rows,
                   unsigned short columns, int out_fd, int err_fd) {
  int master = -1;
  int slave = -1;
  const winsize size = make_size(rows, columns);
  if (::openpty(&master, &slave, nullptr, nullptr, &size) != 0) {
    base::throw_errno("opening a pseudo-terminal");
  }
  keyboard_ = base::Fd(master);
  device_ = base::Fd(slave);
  ::fcntl(master, F_SETFD, FD_CLOEXEC);
  ::fcntl(slave, F_SETFD, FD_CLOEXEC);
  base::set_nonblocking(keyboard_);

  base::SpawnOptions spawn;
  spawn.argv = argv;
  spawn.fds = {{slave, STDIN_FILENO},
               {out_fd >= 0 ? out_fd : slave, STDOUT_FILENO},
               {err_fd >= 0 ? err_fd : slave, STDERR_FILENO}};
  spawn.new_session = true;
  // SAFETY: one system call, on a descriptor the child has by then.
  spawn.before_exec = [] { return ::ioctl(STDIN_FILENO, TIOCSCTTY, 0) == 0 ? 0 : errno; };
  child_ = base::ChildProcess::spawn(spawn);
}

void Terminal::type(std::string_view keys) {
  base::write_all(keyboard_, keys);
}

void Terminal::resize(unsigned short rows, unsigned short columns) {
  const winsize size = make_size(rows, columns);
  if (::ioctl(keyboard_.get(), TIOCSWINSZ, &size) != 0) {
    base::throw_errno("resizing a pseudo-terminal");
  }
}

termios Terminal::settings() const {
  termios settings{};
  if (::tcgetattr(device_.get(), &settings) != 0) {
    base::throw_errno("reading the settings of a terminal");
  }
  return settings;
}

bool Terminal::read_more(Clock::time_point until) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
  std::array<pollfd, 2> polled{
      {{keyboard_.get(), POLLIN, 0}, {status_ ? -1 : child_.pidfd().get(), POLLIN, 0}}};
  const int timeout = static_cast<int>(std::max<long long>(left, 0));
  if (::poll(polled.data(), polled.size(), timeout) <= 0) {
    return false;
  }
  if (polled[1].revents != 0) {
    status_ = child_.try_wait();
  }
  if ((polled[0].revents & POLLIN) != 0) {
    std::array<char, 4096> chunk;
    const ssize_t n = ::read(keyboard_.get(), chunk.data(), chunk.size());
    if (n > 0) {
      screen_.append(chunk.data(), static_cast<std::size_t>(n));
    }
  }
  return true;
}

bool Terminal::shows(std::string_view text, std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  for (;;) {
    const auto at = screen_.find(text, found_);
    if (at != std::string::npos) {
      found_ = at + text.size();
      return true;
    }
    // After the program's end only what is there already counts.
    if (!read_more(status_ ? Clock::now() : until)) {
      return false;
    }
  }
}

int Terminal::wait(std::chrono::milliseconds limit) {
  const auto until = Clock::now() + limit;
  while (!status_) {
    if (!read_more(until)) {
      return -1;
    }
  }
  while (read_more(Clock::now())) {
  }
  return status_->as_shell();
}

}  // namespace tests
