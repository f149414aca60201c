#include "fc-agent/terminal.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include "base/error.h"

namespace fc_agent {
namespace {

constexpr std::chrono::milliseconds kConsoleTimeout{1000};

}  // namespace

Terminal open_terminal() {
  Terminal terminal;
  terminal.master = base::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.master) base::throw_errno("opening a terminal");
  if (::unlockpt(terminal.master.get()) != 0) base::throw_errno("unlocking a terminal");
  // SAFETY: TIOCGPTPEER takes open flags and returns a descriptor; unlike opening /dev/pts/N it needs
  // no path, so the terminal is the right one in whatever mount namespace.
  terminal.slave =
      base::Fd(::ioctl(terminal.master.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (!terminal.slave) base::throw_errno("opening a terminal's other side");
  return terminal;
}

void set_window_size(const base::Fd& terminal, std::uint16_t rows, std::uint16_t columns) {
  if (rows == 0 || columns == 0) return;
  winsize size{};
  size.ws_row = rows;
  size.ws_col = columns;
  // SAFETY: TIOCSWINSZ reads a winsize. It fails only on what is no terminal.
  ::ioctl(terminal.get(), TIOCSWINSZ, &size);
}

base::Fd listen_for_console(const std::string& path) {
  return base::listen_unix(path, 1);
}

base::Fd receive_console(const base::Fd& listener) {
  if (!base::wait_for(listener.get(), POLLIN, kConsoleTimeout)) {
    throw base::Error(ETIMEDOUT, "waiting for the container's terminal");
  }
  const base::Fd connection(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!connection) base::throw_errno("taking the container's terminal");
  if (!base::wait_for(connection.get(), POLLIN, kConsoleTimeout)) {
    throw base::Error(ETIMEDOUT, "waiting for the container's terminal");
  }
  std::array<char, 4096> name;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec data{name.data(), name.size()};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  if (::recvmsg(connection.get(), &message, MSG_CMSG_CLOEXEC) < 0) {
    base::throw_errno("receiving the container's terminal");
  }
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    throw base::Error("receiving the container's terminal: no descriptor came");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return base::Fd(fd);
}

}  // namespace fc_agent
