#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace base {

// Owns one file descriptor. Pass by value to hand it over, by const reference to lend it.
// Every descriptor made by this library has CLOEXEC set at birth.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const noexcept { return fd_; }
  bool valid() const noexcept { return fd_ >= 0; }
  explicit operator bool() const noexcept { return valid(); }
  int release() noexcept { return std::exchange(fd_, -1); }
  // Closes once; EINTR is not retried, for Linux has released the number by then.
  void reset() noexcept;

 private:
  int fd_ = -1;
};

struct Pipe {
  Fd read;
  Fd write;
};

struct SocketPair {
  Fd first;
  Fd second;
};

// Throws Error. `flags` gets O_CLOEXEC added.
Fd open_file(const std::string& path, int flags, mode_t mode = 0);
Fd open_file_at(const Fd& dir, const std::string& path, int flags, mode_t mode = 0);
// Empty (errno says why) where open_file would throw.
Fd try_open_file(const std::string& path, int flags, mode_t mode = 0) noexcept;

Pipe make_pipe(int extra_flags = 0);
// `type` is SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK if wanted.
SocketPair make_socket_pair(int type);
Fd make_event_fd(unsigned initial = 0, int extra_flags = 0);
// An anonymous memory file of `size` bytes (sparse), MFD_CLOEXEC | MFD_ALLOW_SEALING.
Fd make_memfd(const std::string& name, std::size_t size);
Fd duplicate(const Fd& fd);
Fd duplicate(int fd);
void set_nonblocking(const Fd& fd, bool on = true);

// Blocking helpers; they retry EINTR and throw Error. read_exactly throws on an early end.
void write_all(const Fd& fd, std::string_view data);
void write_all(const Fd& fd, std::span<const std::byte> data);
void read_exactly(const Fd& fd, std::span<std::byte> out);
// Reads to the end; throws when there are more than `max_bytes`.
std::string read_to_end(const Fd& fd, std::size_t max_bytes);

// Waits for `events` (poll(2) bits) on `fd`; false on time-out. A negative timeout waits for ever.
bool wait_for(int fd, short events, std::chrono::milliseconds timeout);

// UNIX stream sockets. Paths longer than sun_path are reached through /proc/self/fd of the folder.
// listen_unix replaces a stale socket file; mode of the file is 0600.
Fd listen_unix(const std::string& path, int backlog = 64);
Fd connect_unix(const std::string& path);
// Empty when nobody listens there (ENOENT, ECONNREFUSED); throws on anything else.
Fd try_connect_unix(const std::string& path);

struct PeerCredentials {
  pid_t pid;
  uid_t uid;
  gid_t gid;
};
PeerCredentials peer_credentials(const Fd& socket);

// Closes every descriptor >= `first` that is not listed in `keep`.
void close_from(int first, std::span<const int> keep = {}) noexcept;

}  // namespace base
