#include <algorithm>
#include <exception>
#include <stdexcept>

#include "base/error.h"
#include "base/log.h"
#include "wire/detail/mux_core.h"

namespace wire {

const char* to_string(ResetReason reason) {
  switch (reason) {
    case ResetReason::kCancelled:
      return "cancelled";
    case ResetReason::kNoService:
      return "no such service";
    case ResetReason::kRefused:
      return "refused";
    case ResetReason::kProtocol:
      return "protocol error";
    case ResetReason::kLinkDown:
      return "link down";
  }
  return "unknown reason";
}

namespace detail {
namespace {

// One write(2) on a virtio-serial port takes at most 32 KiB: a full frame should be exactly one.
constexpr std::size_t kDataPayloadBytes = kMaxPayloadBytes - kFrameHeaderBytes;
// Granted in quarters of the window: few frames, and a sender never waits for the last byte.
constexpr std::size_t kGrantBytes = kStreamWindowBytes / 4;

}  // namespace

MuxStream::MuxStream(std::weak_ptr<MuxCore> link, std::uint32_t id,
                     std::shared_ptr<std::size_t> live)
    : link_(std::move(link)), id_(id), live_(std::move(live)) {
  ++*live_;
}

MuxStream::~MuxStream() {
  --*live_;
}

template <typename Member, typename... Args>
void MuxStream::call(Member member, const Args&... args) {
  // The callback may destroy the stream or set another handler: what runs must live on.
  const auto self = shared_from_this();
  const auto keep = handler_;
  if (!keep || !((*keep).*member)) return;
  try {
    ((*keep).*member)(args...);
  } catch (const std::exception& error) {
    // Whatever the peer sent to provoke this, it must not end the program's event loop.
    const auto link = link_.lock();
    if (link && link->may_complain()) {
      base::log_warn(base::cat("stream ", id_, ": ", error.what()));
    }
    reset_by_owner(ResetReason::kProtocol);
  }
}

void MuxStream::set_handler(Stream::Handler handler) {
  const auto old = std::exchange(handler_, std::make_shared<Stream::Handler>(std::move(handler)));
  post_backlog();
}

std::size_t MuxStream::writable() const {
  if (closed_ || eof_wanted_) return 0;
  const auto credit = std::min<std::int64_t>(credit_, kStreamWindowBytes);
  const auto room = credit - static_cast<std::int64_t>(pending_.size());
  return room > 0 ? static_cast<std::size_t>(room) : 0;
}

void MuxStream::write(std::string_view data) {
  if (closed_ || eof_wanted_ || data.empty()) return;
  if (data.size() > writable()) throw std::length_error("Stream::write: more than writable()");
  pending_.append(data);
  if (const auto link = link_.lock()) link->output_waits(shared_from_this());
}

void MuxStream::shutdown_write() {
  if (closed_ || std::exchange(eof_wanted_, true)) return;
  if (const auto link = link_.lock()) link->output_waits(shared_from_this());
}

void MuxStream::consume(std::size_t bytes) {
  bytes = std::min(bytes, unconsumed_);
  unconsumed_ -= bytes;
  if (closed_ || eof_received_) return;
  to_grant_ += bytes;
  if (to_grant_ < kGrantBytes) return;
  const auto link = link_.lock();
  if (!link) return;
  allowance_ += to_grant_;
  link->send_credit(id_, static_cast<std::uint32_t>(std::exchange(to_grant_, 0)));
}

void MuxStream::reset_by_owner(ResetReason reason) {
  if (!open()) return;
  const auto link = link_.lock();
  if (!link) return;
  closed_ = true;
  pending_.clear();
  backlog_.clear();
  backlog_eof_ = false;
  link->drop(shared_from_this(), reason);
  reset_later(reason);
}

void MuxStream::abandon() {
  abandoned_ = true;
  handler_.reset();
  backlog_.clear();
  if (closed_ || (eof_wanted_ && eof_received_)) return;
  const auto link = link_.lock();
  if (!link) return;
  // After shutdown_write() what was written still has to arrive: the reset follows it.
  if (eof_wanted_ && !eof_sent_) {
    consume(unconsumed_);
    return;
  }
  closed_ = true;
  pending_.clear();
  link->drop(shared_from_this(), accepting_ ? ResetReason::kRefused : ResetReason::kCancelled);
}

bool MuxStream::admit(std::size_t bytes) {
  if (eof_received_ || bytes > allowance_) return false;
  allowance_ -= bytes;
  return true;
}

void MuxStream::hand_over(std::string_view data) {
  if (abandoned_ || !handler_->on_data) {
    consume(data.size());
  } else {
    call(&Stream::Handler::on_data, data);
  }
}

void MuxStream::receive_data(std::string_view data) {
  unconsumed_ += data.size();
  if (!abandoned_ && (!handler_ || backlog_posted_)) {
    backlog_ += data;
  } else {
    hand_over(data);
  }
}

bool MuxStream::receive_eof() {
  if (std::exchange(eof_received_, true)) return false;
  if (abandoned_) return true;
  if (!handler_ || backlog_posted_) {
    backlog_eof_ = true;
  } else {
    call(&Stream::Handler::on_eof);
  }
  return true;
}

bool MuxStream::receive_credit(std::uint32_t bytes, std::uint32_t window_bytes) {
  // What a peer grants was consumed before: the sum never exceeds its window.
  if (bytes == 0 || credit_ + bytes > std::int64_t{window_bytes}) return false;
  const bool was_full = writable() == 0;
  credit_ += bytes;
  if (was_full && writable() > 0) call(&Stream::Handler::on_writable);
  return true;
}

void MuxStream::receive_reset(ResetReason reason) {
  closed_ = true;
  pending_.clear();
  if (abandoned_) return;
  if (!handler_ || backlog_posted_) {
    backlog_reset_ = reason;
    return;
  }
  const auto self = shared_from_this();
  call(&Stream::Handler::on_reset, reason);
  handler_.reset();
}

void MuxStream::reset_later(ResetReason reason) {
  closed_ = true;
  if (abandoned_) return;
  backlog_reset_ = reason;
  post_backlog();
}

void MuxStream::post_backlog() {
  if (backlog_posted_ || !handler_) return;
  if (backlog_.empty() && !backlog_eof_ && !backlog_reset_) return;
  const auto link = link_.lock();
  if (!link) return;
  backlog_posted_ = true;
  link->loop().post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->deliver_backlog();
  });
}

void MuxStream::deliver_backlog() {
  backlog_posted_ = false;
  if (!backlog_.empty()) {
    const std::string data = std::exchange(backlog_, {});
    if (!abandoned_) hand_over(data);
  }
  if (!abandoned_ && std::exchange(backlog_eof_, false)) call(&Stream::Handler::on_eof);
  if (!abandoned_ && !backlog_posted_ && backlog_reset_) {
    const ResetReason reason = *std::exchange(backlog_reset_, std::nullopt);
    call(&Stream::Handler::on_reset, reason);
    handler_.reset();
  }
}

void MuxStream::take_output(std::string& out) {
  const auto credit = static_cast<std::size_t>(std::max<std::int64_t>(credit_, 0));
  const std::size_t bytes = std::min({pending_.size(), credit, kDataPayloadBytes});
  if (bytes != 0) {
    const auto header = encode_header({static_cast<std::uint32_t>(bytes), id_, FrameType::kData});
    out.append(header.data(), header.size());
    out.append(pending_.front().substr(0, bytes));
    pending_.pop(bytes);
    credit_ -= static_cast<std::int64_t>(bytes);
  }
  if (pending_.empty() && eof_wanted_ && !eof_sent_) {
    const auto header = encode_header({0, id_, FrameType::kEof});
    out.append(header.data(), header.size());
    eof_sent_ = true;
  }
}

}  // namespace detail
}  // namespace wire
