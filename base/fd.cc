#include "base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/error.h"

namespace base {
namespace {

// Fills `address` for `path`. A long path is named relative to a descriptor of its folder, which
// has to stay open until the address has been used.
struct UnixAddress {
  sockaddr_un address{};
  Fd directory;
};

UnixAddress unix_address(const std::string& path) {
  UnixAddress result;
  result.address.sun_family = AF_UNIX;
  std::string name = path;
  if (name.size() >= sizeof result.address.sun_path) {
    const auto slash = path.rfind('/');
    result.directory = open_file(path.substr(0, slash), O_PATH | O_DIRECTORY);
    name = cat("/proc/self/fd/", result.directory.get(), path.substr(slash));
    if (name.size() >= sizeof result.address.sun_path) {
      throw Error(ENAMETOOLONG, "using socket", path);
    }
  }
  std::memcpy(result.address.sun_path, name.c_str(), name.size() + 1);
  return result;
}

Fd unix_socket() {
  Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) throw_errno("creating UNIX socket");
  return fd;
}

int connect_to(const Fd& fd, const std::string& path) {
  const UnixAddress to = unix_address(path);
  // SAFETY: sockaddr_un is what AF_UNIX takes; the cast is the socket API's own.
  return ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&to.address), sizeof to.address);
}

}  // namespace

void Fd::reset() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Fd open_file(const std::string& path, int flags, mode_t mode) {
  Fd fd = try_open_file(path, flags, mode);
  if (!fd) throw_errno("opening", path);
  return fd;
}

Fd open_file_at(const Fd& dir, const std::string& path, int flags, mode_t mode) {
  Fd fd(::openat(dir.get(), path.c_str(), flags | O_CLOEXEC, mode));
  if (!fd) throw_errno("opening", path);
  return fd;
}

Fd try_open_file(const std::string& path, int flags, mode_t mode) noexcept {
  return Fd(::open(path.c_str(), flags | O_CLOEXEC, mode));
}

Pipe make_pipe(int extra_flags) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC | extra_flags) != 0) throw_errno("creating pipe");
  return {Fd(fds[0]), Fd(fds[1])};
}

SocketPair make_socket_pair(int type) {
  int fds[2];
  if (::socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) != 0) throw_errno("creating socket pair");
  return {Fd(fds[0]), Fd(fds[1])};
}

Fd make_event_fd(unsigned initial, int extra_flags) {
  Fd fd(::eventfd(initial, EFD_CLOEXEC | extra_flags));
  if (!fd) throw_errno("creating eventfd");
  return fd;
}

Fd make_memfd(const std::string& name, std::size_t size) {
  Fd fd(::memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw_errno("creating memory file", name);
  if (::ftruncate(fd.get(), static_cast<off_t>(size)) != 0) throw_errno("sizing memory file", name);
  return fd;
}

Fd duplicate(const Fd& fd) {
  return duplicate(fd.get());
}

Fd duplicate(int fd) {
  Fd copy(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy) throw_errno("duplicating descriptor", std::to_string(fd));
  return copy;
}

void set_nonblocking(const Fd& fd, bool on) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  if (flags < 0) throw_errno("reading descriptor flags");
  const int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
  if (wanted != flags && ::fcntl(fd.get(), F_SETFL, wanted) != 0) {
    throw_errno("setting descriptor flags");
  }
}

void write_all(const Fd& fd, std::string_view data) {
  write_all(fd, std::as_bytes(std::span(data.data(), data.size())));
}

void write_all(const Fd& fd, std::span<const std::byte> data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd.get(), data.data(), data.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno("writing");
    }
    data = data.subspan(static_cast<std::size_t>(n));
  }
}

void read_exactly(const Fd& fd, std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::read(fd.get(), out.data(), out.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno("reading");
    }
    if (n == 0) throw Error("reading: unexpected end");
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

std::string read_to_end(const Fd& fd, std::size_t max_bytes) {
  std::string text;
  char buffer[16384];
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0) {
      if (errno == EINTR) continue;
      throw_errno("reading");
    }
    if (n == 0) return text;
    if (text.size() + static_cast<std::size_t>(n) > max_bytes) {
      throw Error(cat("reading: more than ", max_bytes, " bytes"));
    }
    text.append(buffer, static_cast<std::size_t>(n));
  }
}

bool wait_for(int fd, short events, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  pollfd entry{fd, events, 0};
  int left = timeout.count() < 0 ? -1 : static_cast<int>(timeout.count());
  for (;;) {
    const int n = ::poll(&entry, 1, left);
    if (n > 0) return true;
    if (n == 0) return false;
    if (errno != EINTR) throw_errno("waiting for descriptor");
    if (left >= 0) {
      const auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(
          deadline - std::chrono::steady_clock::now());
      left = static_cast<int>(std::max<std::chrono::milliseconds::rep>(0, rest.count()));
    }
  }
}

Fd listen_unix(const std::string& path, int backlog) {
  Fd fd = unix_socket();
  const UnixAddress at = unix_address(path);
  ::unlink(path.c_str());
  // The mode is set on the socket before it has a name, so the file is never wider than 0600.
  if (::fchmod(fd.get(), 0600) != 0) throw_errno("setting mode of socket", path);
  // SAFETY: as in connect_to.
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at.address), sizeof at.address) != 0) {
    throw_errno("binding socket", path);
  }
  if (::listen(fd.get(), backlog) != 0) throw_errno("listening on socket", path);
  return fd;
}

Fd connect_unix(const std::string& path) {
  Fd fd = unix_socket();
  if (connect_to(fd, path) != 0) throw_errno("connecting to socket", path);
  return fd;
}

Fd try_connect_unix(const std::string& path) {
  Fd fd = unix_socket();
  try {
    if (connect_to(fd, path) == 0) return fd;
  } catch (const Error& error) {
    if (error.errnum() == ENOENT) return {};
    throw;
  }
  if (errno == ENOENT || errno == ECONNREFUSED) return {};
  throw_errno("connecting to socket", path);
}

PeerCredentials peer_credentials(const Fd& socket) {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) {
    throw_errno("reading peer credentials");
  }
  return {credentials.pid, credentials.uid, credentials.gid};
}

void close_from(int first, std::span<const int> keep) noexcept {
  // Runs between fork and exec too: no allocation, only system calls.
  auto next = static_cast<unsigned>(first);
  for (;;) {
    unsigned lowest_kept = ~0U;
    for (const int fd : keep) {
      if (fd >= 0 && static_cast<unsigned>(fd) >= next) {
        lowest_kept = std::min(lowest_kept, static_cast<unsigned>(fd));
      }
    }
    if (lowest_kept == ~0U) {
      ::syscall(SYS_close_range, next, ~0U, 0U);
      return;
    }
    if (lowest_kept > next) ::syscall(SYS_close_range, next, lowest_kept - 1, 0U);
    next = lowest_kept + 1;
  }
}

}  // namespace base
