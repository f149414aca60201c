#include "wire/message_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "wire/detail/byte_queue.h"
#include "wire/frame.h"

namespace wire {
namespace {

constexpr std::size_t kPrefixBytes = 4;
constexpr std::size_t kMaxQueuedBytes = 4 << 20;

}  // namespace

struct MessageStream::State : std::enable_shared_from_this<State> {
  std::unique_ptr<Stream> stream;
  std::shared_ptr<Handler> handler;
  detail::ByteQueue out;
  bool finishing = false;
  std::string in;  // an incomplete message with its prefix
  bool ended = false;

  void attach();
  void on_data(std::string_view data);
  std::string_view take_message(std::string_view& data, bool& complete);
  void on_eof();
  void on_reset(ResetReason reason);
  void pump();
  void deliver(std::string_view message);
};

// Cuts the next message off `data`, completing the one in `in`. A message that came in one piece is
// not copied.
std::string_view MessageStream::State::take_message(std::string_view& data, bool& complete) {
  complete = false;
  const auto absorb = [&](std::size_t wanted) {
    const std::size_t bytes = std::min(data.size(), wanted - in.size());
    in += data.substr(0, bytes);
    data.remove_prefix(bytes);
    return in.size() == wanted;
  };
  if (in.empty() && data.size() >= kPrefixBytes) {
    const std::size_t length = decode_u32(data.substr(0, kPrefixBytes)).take();
    if (length > kMaxMessageBytes) throw base::Error("a message is too long");
    if (data.size() - kPrefixBytes >= length) {
      const auto message = data.substr(kPrefixBytes, length);
      data.remove_prefix(kPrefixBytes + length);
      complete = true;
      return message;
    }
  }
  if (in.size() < kPrefixBytes && !absorb(kPrefixBytes)) return {};
  const std::size_t length = decode_u32(std::string_view(in).substr(0, kPrefixBytes)).take();
  if (length > kMaxMessageBytes) throw base::Error("a message is too long");
  complete = absorb(kPrefixBytes + length);
  return std::string_view(in).substr(kPrefixBytes);
}

void MessageStream::State::deliver(std::string_view message) {
  const auto keep = handler;
  if (keep && keep->on_message) keep->on_message(message);
}

void MessageStream::State::on_data(std::string_view data) {
  const auto self = shared_from_this();
  // A message may be larger than the window, so its bytes are taken as they come.
  stream->consume(data.size());
  while (!data.empty()) {
    bool complete = false;
    const auto message = take_message(data, complete);
    if (!complete) return;
    if (in.empty()) {
      deliver(message);
    } else {
      const std::string whole = std::exchange(in, {});
      deliver(std::string_view(whole).substr(kPrefixBytes));
    }
    if (!stream || !stream->open()) return;
  }
}

void MessageStream::State::on_eof() {
  if (!in.empty()) throw base::Error("a message was cut short");
  const auto keep = handler;
  if (keep && keep->on_end) keep->on_end();
}

void MessageStream::State::on_reset(ResetReason reason) {
  ended = true;
  out.clear();
  const auto keep = std::exchange(handler, nullptr);
  if (keep && keep->on_reset) keep->on_reset(reason);
}

void MessageStream::State::pump() {
  while (!out.empty() && stream->writable() > 0) {
    const auto piece = out.front().substr(0, stream->writable());
    stream->write(piece);
    out.pop(piece.size());
  }
  if (out.empty() && finishing) stream->shutdown_write();
}

// An exception that leaves a handler of a Stream costs that stream: it is reset with kProtocol.
void MessageStream::State::attach() {
  const auto weak = weak_from_this();
  const auto run = [weak](auto member) {
    return [weak, member](auto&&... args) {
      if (const auto self = weak.lock()) ((*self).*member)(args...);
    };
  };
  stream->set_handler(
      {run(&State::on_data), run(&State::on_eof), run(&State::pump), run(&State::on_reset)});
  // Credit may have come while nobody listened.
  pump();
}

MessageStream::MessageStream(std::unique_ptr<Stream> stream) : state_(std::make_shared<State>()) {
  state_->stream = std::move(stream);
}

MessageStream::~MessageStream() {
  state_->handler.reset();
  state_->stream.reset();
}

void MessageStream::set_handler(Handler handler) {
  const bool first = !state_->handler;
  const auto old = std::exchange(state_->handler, std::make_shared<Handler>(std::move(handler)));
  if (first && !state_->ended) state_->attach();
}

void MessageStream::send(std::string_view message) {
  if (message.size() > kMaxMessageBytes) {
    throw base::Error(base::cat("sending a message of ", message.size(), " bytes: the limit is ",
                                kMaxMessageBytes));
  }
  State& state = *state_;
  if (!state.stream->open() || state.finishing) return;
  if (state.out.size() + message.size() > kMaxQueuedBytes) {
    state.out.clear();
    state.stream->reset(ResetReason::kRefused);
    return;
  }
  state.out.append(encode_u32(static_cast<std::uint32_t>(message.size())));
  state.out.append(message);
  state.pump();
}

void MessageStream::finish() {
  if (std::exchange(state_->finishing, true)) return;
  state_->pump();
}

void MessageStream::reset(ResetReason reason) {
  state_->out.clear();
  state_->stream->reset(reason);
}

bool MessageStream::open() const {
  return state_->stream->open();
}

}  // namespace wire
