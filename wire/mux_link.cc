#include "wire/mux_link.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "wire/detail/mux_core.h"

namespace wire {
namespace detail {
namespace {

constexpr std::size_t kInputBytes = 64 * 1024;
// A batch is written with one call: large enough to make the call cheap, small enough that control
// frames of the next batch do not wait long behind it.
constexpr std::size_t kOutputBytes = 64 * 1024;
constexpr std::size_t kFlushBytes = 1 << 20;
constexpr int kReadsPerEvent = 4;
// Answers that wait for a peer that does not read; beyond this we do not read from it either.
constexpr std::size_t kMaxControlBytes = 64 * 1024;
constexpr std::uint32_t kMinWindowBytes = 4096;
constexpr std::uint32_t kMaxWindowBytes = 64 << 20;

class StreamHandle final : public Stream {
 public:
  explicit StreamHandle(std::shared_ptr<MuxStream> stream) : stream_(std::move(stream)) {}
  ~StreamHandle() override { stream_->abandon(); }
  void set_handler(Handler handler) override { stream_->set_handler(std::move(handler)); }
  std::size_t writable() const override { return stream_->writable(); }
  void write(std::string_view data) override { stream_->write(data); }
  void shutdown_write() override { stream_->shutdown_write(); }
  void consume(std::size_t bytes) override { stream_->consume(bytes); }
  void reset(ResetReason reason) override { stream_->reset_by_owner(reason); }
  bool open() const override { return stream_->open(); }

 private:
  const std::shared_ptr<MuxStream> stream_;
};

class MuxLink final : public Link {
 public:
  explicit MuxLink(std::shared_ptr<MuxCore> core) : core_(std::move(core)) {}
  ~MuxLink() override { core_->close(); }
  void set_handler(Handler handler) override { core_->set_handler(std::move(handler)); }
  std::unique_ptr<Stream> open(std::string_view service, std::string_view argument) override {
    return core_->open(service, argument);
  }
  bool ready() const override { return core_->ready(); }
  void suspend(std::function<void()> done) override { core_->suspend(std::move(done)); }
  void resume() override { core_->resume(); }

 private:
  const std::shared_ptr<MuxCore> core_;
};

std::string error_text(const char* verb, int errnum) {
  return base::Error(errnum, verb).what();
}

}  // namespace

MuxCore::MuxCore(base::EventLoop& loop, base::Fd fd, MuxOptions options)
    : loop_(loop),
      fd_(std::move(fd)),
      options_(options),
      next_id_(options.side == Side::kHost ? 1 : 2),
      input_(kInputBytes) {
  struct stat info {};
  if (::fstat(fd_.get(), &info) != 0) base::throw_errno("examining the link's descriptor");
  is_socket_ = S_ISSOCK(info.st_mode);
  is_device_ = S_ISCHR(info.st_mode);
  base::set_nonblocking(fd_);
}

void MuxCore::start() {
  watch_ = loop_.watch(fd_.get(), EPOLLIN, [weak = weak_from_this()](std::uint32_t events) {
    if (const auto self = weak.lock()) self->on_event(events);
  });
  // The guest says hello in answer to the host's, whose epoch it repeats.
  if (options_.side == Side::kHost) send_hello();
}

void MuxCore::set_handler(Link::Handler handler) {
  const auto old = std::exchange(handler_, std::make_shared<Link::Handler>(std::move(handler)));
  if ((ready_ && !ready_announced_) || (down_ && !down_announced_)) {
    loop_.post([weak = weak_from_this()] {
      const auto self = weak.lock();
      if (!self || !self->handler_) return;
      const auto keep = self->handler_;
      if (self->ready_ && !std::exchange(self->ready_announced_, true) && keep->on_ready) {
        self->run_handler("on_ready", keep->on_ready);
      }
      if (self->down_ && self->handler_ && !std::exchange(self->down_announced_, true) &&
          keep->on_down) {
        self->run_handler("on_down", [&] { keep->on_down(self->why_); });
      }
    });
  }
}

void MuxCore::run_handler(const char* what, const std::function<void()>& f) {
  try {
    f();
  } catch (const std::exception& error) {
    base::log_error(base::cat("link: ", what, ": ", error.what()));
  }
}

std::unique_ptr<Stream> MuxCore::open(std::string_view service, std::string_view argument) {
  const std::string request = encode_open({std::string(service), std::string(argument)});
  const bool full = *live_here_ >= options_.max_streams || next_id_ > ~std::uint32_t{0} - 2;
  if (down_ || full) {
    auto stream =
        std::make_shared<MuxStream>(weak_from_this(), 0, std::make_shared<std::size_t>(0));
    stream->reset_later(down_ ? ResetReason::kLinkDown : ResetReason::kRefused);
    return std::make_unique<StreamHandle>(std::move(stream));
  }
  const std::uint32_t id = std::exchange(next_id_, next_id_ + 2);
  auto stream = std::make_shared<MuxStream>(weak_from_this(), id, live_here_);
  streams_.emplace(id, stream);
  if (ready_) {
    stream->grant_initial(peer_window_);
    const Cork cork(*this);
    queue_control(FrameType::kOpen, id, request);
  } else {
    unsent_opens_.emplace(id, request);
  }
  return std::make_unique<StreamHandle>(std::move(stream));
}

void MuxCore::close() {
  const auto self = shared_from_this();
  handler_.reset();
  if (down_) return;
  // Frames of callbacks under way would otherwise be lost.
  flush();
  go_down(ResetReason::kLinkDown);
}

void MuxCore::output_waits(const std::shared_ptr<MuxStream>& stream) {
  if (down_ || !ready_ || stream->queued || !stream->has_output()) return;
  stream->queued = true;
  round_.push_back(stream);
  const Cork cork(*this);
}

void MuxCore::send_credit(std::uint32_t id, std::uint32_t bytes) {
  if (down_) return;
  const Cork cork(*this);
  queue_control(FrameType::kCredit, id, encode_u32(bytes));
}

void MuxCore::drop(const std::shared_ptr<MuxStream>& stream, std::optional<ResetReason> tell_peer) {
  if (streams_.erase(stream->id()) == 0 || down_) return;
  // Before the peer is there it does not know the stream: nothing to take back.
  if (unsent_opens_.erase(stream->id()) != 0 || !tell_peer) return;
  const Cork cork(*this);
  queue_control(FrameType::kReset, stream->id(),
                encode_u32(static_cast<std::uint32_t>(*tell_peer)));
}

// ---- input

void MuxCore::on_event(std::uint32_t events) {
  const auto self = shared_from_this();
  if (reading_paused() && (events & (EPOLLHUP | EPOLLERR)) != 0 && !host_missing_) {
    // Nobody is left to take our answers, and the hang-up would be reported for ever.
    fail("the peer closed the link");
    return;
  }
  const Cork cork(*this);
  if ((events & (EPOLLHUP | EPOLLERR)) == 0) host_missing_ = false;
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) == 0) return;
  for (int i = 0; i < kReadsPerEvent; ++i) {
    if (down_ || reading_paused() || read_once() != ReadResult::kMore) break;
  }
}

bool MuxCore::reading_paused() const {
  return control_.size() > kMaxControlBytes;
}

// Reads until the buffer is full or nothing is left. A virtio-serial port hands out one 4 KiB buffer
// per call, so a short read there does not mean that it is empty.
MuxCore::Input MuxCore::fill_input() {
  for (;;) {
    const std::size_t room = input_.size() - input_bytes_;
    const ssize_t n = ::read(fd_.get(), input_.data() + input_bytes_, room);
    if (n > 0) {
      input_bytes_ += static_cast<std::size_t>(n);
      heard_ = true;
      host_missing_ = false;
      if (static_cast<std::size_t>(n) == room) return {ReadResult::kMore, {}};
      if (is_socket_) return {ReadResult::kDrained, {}};
      continue;
    }
    if (n == 0) return {ReadResult::kStopped, "the peer closed the link"};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {ReadResult::kDrained, {}};
    return {ReadResult::kStopped, error_text("reading from the link", errno)};
  }
}

MuxCore::ReadResult MuxCore::read_once() {
  Input input = fill_input();
  const std::size_t used = parse(std::string_view(input_.data(), input_bytes_));
  if (down_) return ReadResult::kStopped;
  // What is left is less than a header or a control frame.
  input_bytes_ -= used;
  std::memmove(input_.data(), input_.data() + used, input_bytes_);
  if (input.result == ReadResult::kStopped) end_of_input(std::move(input.why));
  return input.result;
}

// A virtio-serial port whose host side is not connected reads as ended (0, EIO on a pty) and polls
// as hung up, for ever. Before the host has been heard that only means "not yet": the watch becomes
// edge triggered, so that it wakes when the state changes and does not spin. Afterwards the host has
// gone, and with it all state of this link.
void MuxCore::end_of_input(std::string why) {
  if (is_device_ && !heard_) {
    host_missing_ = true;
  } else {
    fail(std::move(why));
  }
}

std::size_t MuxCore::parse(std::string_view input) {
  const std::size_t total = input.size();
  while (!down_) {
    if (data_left_ != 0) {
      const auto piece = input.substr(0, data_left_);
      if (piece.empty()) break;
      input.remove_prefix(piece.size());
      data_left_ -= piece.size();
      const auto stream = data_left_ != 0 ? data_stream_ : std::exchange(data_stream_, nullptr);
      // It may have been reset since the frame began.
      if (stream && streams_.contains(stream->id())) stream->receive_data(piece);
      continue;
    }
    if (input.size() < kFrameHeaderBytes) break;
    const auto header = decode_header(input.substr(0, kFrameHeaderBytes));
    if (!header) {
      fail(base::cat("the peer broke the protocol: ", header.error().what()));
      break;
    }
    const FrameHeader& frame = header.value();
    if (!ready_ && frame.type != FrameType::kHello) {
      fail("the peer broke the protocol: it did not say hello first");
      break;
    }
    if (frame.type == FrameType::kData) {
      input.remove_prefix(kFrameHeaderBytes);
      begin_data(frame);
      continue;
    }
    if (input.size() < kFrameHeaderBytes + frame.length) break;
    const auto payload = input.substr(kFrameHeaderBytes, frame.length);
    input.remove_prefix(kFrameHeaderBytes + frame.length);
    handle(frame, payload);
  }
  return total - input.size();
}

std::shared_ptr<MuxStream> MuxCore::find(std::uint32_t id) {
  const auto it = streams_.find(id);
  if (it != streams_.end()) return it->second;
  const bool ours = id % 2 == next_id_ % 2;
  const bool known = ours ? id < next_id_ : id <= last_peer_id_;
  if (!known) fail(base::cat("the peer broke the protocol: stream ", id, " was never opened"));
  return nullptr;
}

void MuxCore::violate(const std::shared_ptr<MuxStream>& stream) {
  drop(stream, ResetReason::kProtocol);
  stream->receive_reset(ResetReason::kProtocol);
}

void MuxCore::begin_data(const FrameHeader& header) {
  data_left_ = header.length;
  data_stream_ = find(header.stream);
  if (data_stream_ && !data_stream_->admit(header.length)) {
    violate(std::exchange(data_stream_, nullptr));
  }
}

void MuxCore::handle(const FrameHeader& header, std::string_view payload) {
  if (header.type == FrameType::kHello) return handle_hello(payload);
  if (header.type == FrameType::kOpen) return handle_open(header.stream, payload);
  if (header.type == FrameType::kSuspend) return handle_suspend();
  if (header.type == FrameType::kResume) return handle_resume();
  const auto stream = find(header.stream);
  if (!stream) return;
  if (header.type == FrameType::kEof) {
    if (!stream->receive_eof()) return violate(stream);
    retire_if_done(stream);
  } else if (header.type == FrameType::kCredit) {
    if (!stream->receive_credit(decode_u32(payload).take(), peer_window_)) return violate(stream);
    output_waits(stream);
  } else {
    const auto reason = decode_u32(payload).take();
    drop(stream, std::nullopt);
    // kLinkDown is never sent, and numbers we do not know are some breach of the peer's.
    const bool known = reason >= 1 && reason <= static_cast<std::uint32_t>(ResetReason::kProtocol);
    stream->receive_reset(known ? static_cast<ResetReason>(reason) : ResetReason::kProtocol);
  }
}

bool MuxCore::accept_hello(const Hello& hello) {
  if (ready_ && !can_renew(hello)) {
    fail("the peer broke the protocol: it said hello twice");
  } else if (hello.version != kLinkVersion) {
    fail(base::cat("the peer speaks version ", hello.version, " of the link, not ", kLinkVersion));
  } else if (hello.window_bytes < kMinWindowBytes || hello.window_bytes > kMaxWindowBytes) {
    fail(base::cat("the peer broke the protocol: a window of ", hello.window_bytes, " bytes"));
  } else if (options_.side == Side::kHost && hello.epoch != options_.epoch) {
    fail(base::cat("the peer is of epoch ", hello.epoch, ", not ", options_.epoch));
  }
  return !down_;
}

void MuxCore::handle_hello(std::string_view payload) {
  const Hello hello = decode_hello(payload).take();
  if (!accept_hello(hello)) return;
  const bool renewed = ready_;
  if (renewed) renew();
  epoch_ = hello.epoch;
  if (options_.side == Side::kGuest) {
    queue_control(FrameType::kHello, 0,
                  encode_hello({kLinkVersion, hello.epoch, kStreamWindowBytes}));
  }
  ready_ = true;
  peer_window_ = hello.window_bytes;
  if (renewed) {
    const auto keep = handler_;
    if (keep && keep->on_renewed) run_handler("on_renewed", keep->on_renewed);
    return;
  }
  for (const auto& [id, stream] : streams_) {
    queue_control(FrameType::kOpen, id, unsent_opens_.at(id));
    stream->grant_initial(peer_window_);
    output_waits(stream);
  }
  unsent_opens_.clear();
  const auto keep = handler_;
  if (keep) ready_announced_ = true;
  if (keep && keep->on_ready) run_handler("on_ready", keep->on_ready);
}

void MuxCore::handle_open(std::uint32_t id, std::string_view payload) {
  if (id % 2 == next_id_ % 2 || id <= last_peer_id_) {
    return fail(base::cat("the peer broke the protocol: it cannot open stream ", id));
  }
  last_peer_id_ = id;
  const auto refuse = [&](ResetReason reason) {
    queue_control(FrameType::kReset, id, encode_u32(static_cast<std::uint32_t>(reason)));
  };
  auto request = decode_open(payload);
  if (!request) return refuse(ResetReason::kProtocol);
  const auto keep = handler_;
  if (!keep || !keep->on_stream) return refuse(ResetReason::kNoService);
  if (*live_peer_ >= options_.max_streams) return refuse(ResetReason::kRefused);
  auto stream = std::make_shared<MuxStream>(weak_from_this(), id, live_peer_);
  stream->grant_initial(peer_window_);
  streams_.emplace(id, stream);
  stream->set_accepting(true);
  run_handler("on_stream", [&] {
    keep->on_stream(std::make_unique<StreamHandle>(stream), std::move(request.value().service),
                    std::move(request.value().argument));
  });
  stream->set_accepting(false);
}

// ---- output

void MuxCore::queue_control(FrameType type, std::uint32_t stream, std::string_view payload) {
  const auto header = encode_header({static_cast<std::uint32_t>(payload.size()), stream, type});
  control_.append(header.data(), header.size());
  control_ += payload;
}

void MuxCore::send_hello() {
  const Cork cork(*this);
  queue_control(FrameType::kHello, 0,
                encode_hello({kLinkVersion, options_.epoch, kStreamWindowBytes}));
}

void MuxCore::retire_if_done(const std::shared_ptr<MuxStream>& stream) {
  if (stream->finished_on_wire()) {
    drop(stream, std::nullopt);
  } else if (stream->lingering_done()) {
    drop(stream, ResetReason::kCancelled);
  }
}

// Copied into one buffer rather than gathered by writev: a virtio-serial port makes one transfer of
// every element of the vector, headers included.
void MuxCore::fill_output() {
  output_.clear();
  output_sent_ = 0;
  if (suspending_) {
    if (std::exchange(suspend_sent_, true)) return;
    const auto header = encode_header({0, 0, FrameType::kSuspend});
    output_.append(header.data(), header.size());
    return;
  }
  output_.swap(control_);
  while (output_.size() < kOutputBytes && !round_.empty()) {
    const auto stream = std::move(round_.front());
    round_.pop_front();
    stream->queued = false;
    if (!stream->has_output()) continue;
    stream->take_output(output_);
    if (stream->has_output()) {
      stream->queued = true;
      round_.push_back(stream);
    } else {
      retire_if_done(stream);
    }
  }
}

void MuxCore::flush() {
  // retire_if_done may queue a control frame while the output is filled; it goes with this round.
  const int corked = std::exchange(corked_, 1);
  std::size_t written = 0;
  want_out_ = false;
  while (!down_ && !write_failed_) {
    if (output_sent_ == output_.size()) {
      fill_output();
      if (output_.empty()) break;
    }
    if (written >= kFlushBytes) {
      want_out_ = true;
      break;
    }
    const char* data = output_.data() + output_sent_;
    const std::size_t size = output_.size() - output_sent_;
    const ssize_t n =
        is_socket_ ? ::send(fd_.get(), data, size, MSG_NOSIGNAL) : ::write(fd_.get(), data, size);
    if (n >= 0) {
      output_sent_ += static_cast<std::size_t>(n);
      written += static_cast<std::size_t>(n);
      continue;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK || (is_device_ && !heard_)) {
      want_out_ = true;
    } else {
      on_write_failure(errno);
    }
    break;
  }
  corked_ = corked;
  if (!down_) update_events();
}

// The peer may have gone after it said something: that is read first. Callbacks come from the loop,
// for a failed write is noticed inside calls of the owner's.
void MuxCore::on_write_failure(int errnum) {
  write_failed_ = true;
  loop_.post([weak = weak_from_this(), errnum] {
    const auto self = weak.lock();
    if (!self) return;
    constexpr int kMostReads = 64;
    for (int i = 0; i < kMostReads && !self->down_; ++i) {
      if (self->read_once() != ReadResult::kMore) break;
    }
    self->fail(error_text("writing to the link", errnum));
  });
}

void MuxCore::update_events() {
  if (!watch_.active()) return;
  std::uint32_t events = 0;
  if (host_missing_) {
    events = EPOLLIN | EPOLLOUT | EPOLLET;
  } else {
    if (!reading_paused()) events |= EPOLLIN;
    if (want_out_) events |= EPOLLOUT;
  }
  loop_.set_events(watch_, events);
}

// ---- the end

void MuxCore::fail(std::string why) {
  if (down_) return;
  const auto self = shared_from_this();
  go_down(ResetReason::kLinkDown);
  why_ = std::move(why);
  const auto keep = handler_;
  if (!keep) return;
  down_announced_ = true;
  if (keep->on_down) run_handler("on_down", [&] { keep->on_down(why_); });
}

void MuxCore::go_down(ResetReason reason) {
  down_ = true;
  watch_.reset();
  fd_.reset();
  on_suspended_ = nullptr;
  data_stream_.reset();
  round_.clear();
  control_.clear();
  output_.clear();
  unsent_opens_.clear();
  for (const auto& [id, stream] : std::exchange(streams_, {})) stream->receive_reset(reason);
}

}  // namespace detail

std::unique_ptr<Link> make_mux_link(base::EventLoop& loop, base::Fd fd, MuxOptions options) {
  auto core = std::make_shared<detail::MuxCore>(loop, std::move(fd), options);
  core->start();
  return std::make_unique<detail::MuxLink>(std::move(core));
}

}  // namespace wire
