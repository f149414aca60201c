#include "wire/pump.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "wire/detail/byte_queue.h"

namespace wire {
namespace {

constexpr std::size_t kPieceBytes = 64 * 1024;
// Read at most by finish_source() from something that does not say how much it holds.
constexpr std::size_t kDrainBytes = 256 * 1024;
// A writable pipe takes this much without blocking (pipe(7)); a terminal in practice, too.
constexpr std::size_t kSharedWriteBytes = PIPE_BUF;

// How a descriptor is read and written without waiting.
class Port {
 public:
  Port(base::Fd fd, bool owned) : fd_(std::move(fd)) {
    if (!fd_) return;
    struct stat info {};
    if (::fstat(fd_.get(), &info) != 0) base::throw_errno("examining a descriptor");
    is_socket_ = S_ISSOCK(info.st_mode);
    is_pipe_ = S_ISFIFO(info.st_mode);
    is_file_ = S_ISREG(info.st_mode) || S_ISBLK(info.st_mode);
    // O_NONBLOCK is a property of the open file, which others may be using too.
    asks_first_ = !owned && !is_socket_ && !is_file_;
    if (owned) base::set_nonblocking(fd_);
  }

  int fd() const { return fd_.get(); }
  bool valid() const { return fd_.valid(); }
  bool is_pipe() const { return is_pipe_; }
  void close() { fd_.reset(); }

  // As read(2) and write(2); EAGAIN instead of waiting.
  ssize_t read(char* data, std::size_t size) const {
    if (!may(POLLIN)) return -1;
    return is_socket_ ? ::recv(fd_.get(), data, size, MSG_DONTWAIT) : ::read(fd_.get(), data, size);
  }
  ssize_t write(std::string_view data) const {
    if (!may(POLLOUT)) return -1;
    if (is_socket_) {
      return ::send(fd_.get(), data.data(), data.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (asks_first_) data = data.substr(0, kSharedWriteBytes);
    return ::write(fd_.get(), data.data(), data.size());
  }

 private:
  bool may(short events) const {
    if (!asks_first_) return true;
    pollfd entry{fd_.get(), events, 0};
    if (::poll(&entry, 1, 0) > 0) return true;
    errno = EAGAIN;
    return false;
  }

  base::Fd fd_;
  bool is_socket_ = false;
  bool is_pipe_ = false;
  bool is_file_ = false;
  bool asks_first_ = false;
};

bool would_block(int errnum) {
  return errnum == EAGAIN || errnum == EWOULDBLOCK;
}

}  // namespace

// A paused watch is dropped rather than set to no events: epoll reports hang-ups even then, level
// triggered, and the loop would spin.
struct StreamPump::State : std::enable_shared_from_this<State> {
  State(base::EventLoop& event_loop, std::unique_ptr<Stream> s, Options options, Handler callbacks)
      : loop(event_loop),
        stream(std::move(s)),
        source(std::move(options.source), options.owned),
        sink(std::move(options.sink), options.owned),
        has_sink(sink.valid()),
        filter(std::move(options.filter)),
        eio_is_eof(options.eio_is_eof),
        outlives_hangup(options.outlives_hangup),
        handler(std::make_shared<Handler>(std::move(callbacks))) {}

  void start();
  void stop();

  void update_source();
  bool read_source();
  void drain_source();
  void end_source();

  void on_data(std::string_view data);
  void write_sink();
  std::size_t write_some(std::string_view data);
  void settle_sink();
  void update_sink();
  void end_sink();
  void on_reset(ResetReason why);

  template <typename... Args>
  void tell(std::function<void(Args...)> Handler::*member, Args... args) {
    const auto keep = handler;
    if (keep && ((*keep).*member)) ((*keep).*member)(args...);
  }

  base::EventLoop& loop;
  std::unique_ptr<Stream> stream;
  Port source;
  Port sink;
  const bool has_sink;  // without one what comes is lost
  std::function<std::size_t(std::string_view)> filter;
  bool eio_is_eof;
  bool outlives_hangup;
  std::shared_ptr<Handler> handler;

  base::EventLoop::Registration source_watch;
  base::EventLoop::Registration sink_watch;
  detail::ByteQueue to_sink;
  bool hung_up = false;         // nobody has the terminal open now
  bool source_stopped = false;  // by the filter or a reset: nothing is read any more
  bool source_done = false;
  bool sink_eof = false;  // the peer has written all
  bool sink_done = false;
  int sink_error = 0;
  std::optional<std::size_t> drain_left;  // finish_source() was called: bytes still to read
  std::optional<ResetReason> reset;       // heard, to be told once the sink has what came before
};

void StreamPump::State::start() {
  const auto weak = weak_from_this();
  Stream::Handler events;
  events.on_data = [weak](std::string_view data) {
    if (const auto self = weak.lock()) self->on_data(data);
  };
  events.on_eof = [weak] {
    if (const auto self = weak.lock()) {
      self->sink_eof = true;
      self->settle_sink();
    }
  };
  events.on_writable = [weak] {
    const auto self = weak.lock();
    if (!self) return;
    if (self->drain_left) {
      self->drain_source();
    } else {
      self->update_source();
    }
  };
  events.on_reset = [weak](ResetReason why) {
    if (const auto self = weak.lock()) self->on_reset(why);
  };
  stream->set_handler(std::move(events));
  if (source.valid()) {
    update_source();
  } else {
    // No source is one that has ended.
    loop.post([weak] {
      if (const auto self = weak.lock()) self->end_source();
    });
  }
}

void StreamPump::State::stop() {
  handler.reset();
  source_watch.reset();
  sink_watch.reset();
  source_stopped = true;
  sink_done = true;
  stream.reset();
}

void StreamPump::State::update_source() {
  const bool wanted = !source_stopped && !source_done && !drain_left && stream->writable() > 0;
  if (!wanted) {
    source_watch.reset();
  } else if (!source_watch.active()) {
    // A hang-up stands until somebody opens the terminal and writes: told once, not over and over.
    const std::uint32_t events = hung_up ? EPOLLIN | EPOLLET : EPOLLIN;
    source_watch = loop.watch(source.fd(), events, [weak = weak_from_this()](std::uint32_t) {
      const auto self = weak.lock();
      if (!self) return;
      const bool was_hung_up = self->hung_up;
      self->read_source();
      if (!self->stream) return;
      if (self->hung_up != was_hung_up) self->source_watch.reset();
      self->update_source();
    });
  }
}

// One read; false when the source has nothing more now or for good.
bool StreamPump::State::read_source() {
  if (source_stopped || source_done) return false;
  std::size_t limit = std::min(kPieceBytes, stream->writable());
  if (drain_left) limit = std::min(limit, *drain_left);
  if (limit == 0) return false;
  std::array<char, kPieceBytes> buffer;
  const ssize_t n = source.read(buffer.data(), limit);
  if (n < 0) {
    if (errno == EINTR) return true;
    if (would_block(errno)) {
      if (drain_left) end_source();
      return false;
    }
    if (errno == EIO && outlives_hangup && !drain_left) {
      hung_up = true;
      return false;
    }
    if (!(errno == EIO && eio_is_eof)) {
      base::log_warn(base::Error(errno, "reading output of a process").what());
    }
  }
  if (n <= 0) {
    end_source();
    return false;
  }
  hung_up = false;
  const auto got = static_cast<std::size_t>(n);
  if (drain_left) *drain_left -= got;
  const std::string_view data(buffer.data(), got);
  const std::size_t kept = filter ? std::min(filter(data), got) : got;
  if (!stream) return false;  // the filter destroyed the pump
  stream->write(data.substr(0, kept));
  if (kept < got) {
    source_stopped = true;
    return false;
  }
  if (drain_left && *drain_left == 0) {
    end_source();
    return false;
  }
  return true;
}

void StreamPump::State::drain_source() {
  while (read_source()) {
  }
}

void StreamPump::State::end_source() {
  if (source_stopped || std::exchange(source_done, true)) return;
  const auto self = shared_from_this();
  source_watch.reset();
  source.close();
  stream->shutdown_write();
  tell(&Handler::on_source_done);
}

// Writes what the sink takes now and returns how much that was; everything once it is gone.
std::size_t StreamPump::State::write_some(std::string_view data) {
  std::size_t written = 0;
  while (!sink_done && sink.valid() && written < data.size()) {
    const ssize_t n = sink.write(data.substr(written));
    if (n >= 0) {
      written += static_cast<std::size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (would_block(errno)) return written;
    sink_error = errno;
    sink.close();
  }
  return data.size();
}

void StreamPump::State::on_data(std::string_view data) {
  const auto self = shared_from_this();
  std::size_t taken = 0;
  if (to_sink.empty()) {
    taken = write_some(data);
    data.remove_prefix(taken);
  }
  if (!data.empty()) to_sink.append(data);
  if (taken != 0) stream->consume(taken);
  if (!data.empty() || !sink.valid()) settle_sink();
}

void StreamPump::State::write_sink() {
  const std::size_t taken = write_some(to_sink.front());
  to_sink.pop(taken);
  if (taken != 0) stream->consume(taken);
  settle_sink();
}

void StreamPump::State::update_sink() {
  if (to_sink.empty() || sink_done) {
    sink_watch.reset();
  } else if (!sink_watch.active()) {
    sink_watch = loop.watch(sink.fd(), EPOLLOUT, [weak = weak_from_this()](std::uint32_t) {
      if (const auto self = weak.lock()) self->write_sink();
    });
  }
}

// After something changed on the way to the sink: is it at its end?
void StreamPump::State::settle_sink() {
  update_sink();
  const bool lost = has_sink && !sink.valid();
  if (to_sink.empty() && (sink_eof || lost || reset)) end_sink();
}

void StreamPump::State::end_sink() {
  const auto self = shared_from_this();
  const bool complete = sink_eof || (has_sink && !sink.valid());
  if (!std::exchange(sink_done, true)) {
    sink_watch.reset();
    sink.close();
    if (complete) tell(&Handler::on_sink_done);
  }
  if (reset) tell(&Handler::on_reset, *std::exchange(reset, std::nullopt));
}

void StreamPump::State::on_reset(ResetReason why) {
  const auto self = shared_from_this();
  reset = why;
  const bool abandoned = source.valid() && !source_done;
  source_stopped = true;
  source_watch.reset();
  source.close();
  if (abandoned) tell(&Handler::on_source_abandoned);
  settle_sink();
}

StreamPump::StreamPump(base::EventLoop& loop, std::unique_ptr<Stream> stream, Options options,
                       Handler handler)
    : state_(std::make_shared<State>(loop, std::move(stream), std::move(options),
                                     std::move(handler))) {
  state_->start();
}

StreamPump::~StreamPump() {
  state_->stop();
}

void StreamPump::finish_source() {
  State& state = *state_;
  if (state.source_done || state.source_stopped || state.drain_left) return;
  state.source_watch.reset();
  int held = 0;
  if (state.source.is_pipe() && ::ioctl(state.source.fd(), FIONREAD, &held) == 0) {
    state.drain_left = static_cast<std::size_t>(held);
  } else {
    state.drain_left = kDrainBytes;
  }
  state.loop.post([weak = state.weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    if (*self->drain_left == 0) {
      self->end_source();
    } else {
      self->drain_source();
    }
  });
}

void StreamPump::close_sink() {
  state_->sink_eof = true;
  state_->settle_sink();
}

bool StreamPump::source_done() const {
  return state_->source_done;
}
bool StreamPump::sink_done() const {
  return state_->sink_done;
}
int StreamPump::sink_error() const {
  return state_->sink_error;
}

}  // namespace wire
