#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "wire/detail/byte_queue.h"
#include "wire/pump.h"

namespace wire {

struct StreamRelay::State : std::enable_shared_from_this<State> {
  // One direction: what `from` sent and `to` has not taken yet.
  struct Way {
    Stream* from = nullptr;
    Stream* to = nullptr;
    Tap tap;
    detail::ByteQueue queue;
    bool ended = false;  // `from` writes no more
    bool passed_end = false;
    std::optional<ResetReason> from_reset;
    bool broken = false;  // `to` takes no more
  };

  std::unique_ptr<Stream> a;
  std::unique_ptr<Stream> b;
  std::array<Way, 2> ways;  // a to b, b to a
  std::function<void()> on_done;
  bool done = false;

  void start();
  void attach(std::size_t index);
  void on_data(Way& way, std::string_view data);
  void move(Way& way);
  void on_reset(std::size_t index, ResetReason reason);
  void finish_if_done();
  void finish();
};

void StreamRelay::State::start() {
  ways[0].from = ways[1].to = a.get();
  ways[1].from = ways[0].to = b.get();
  attach(0);
  attach(1);
}

// Listens to the stream that feeds ways[index]; the other way drains into the same stream.
void StreamRelay::State::attach(std::size_t index) {
  const auto weak = weak_from_this();
  Stream::Handler handler;
  handler.on_data = [weak, index](std::string_view data) {
    if (const auto self = weak.lock()) self->on_data(self->ways[index], data);
  };
  handler.on_eof = [weak, index] {
    const auto self = weak.lock();
    if (!self) return;
    self->ways[index].ended = true;
    self->move(self->ways[index]);
  };
  handler.on_writable = [weak, index] {
    if (const auto self = weak.lock()) self->move(self->ways[1 - index]);
  };
  handler.on_reset = [weak, index](ResetReason reason) {
    if (const auto self = weak.lock()) self->on_reset(index, reason);
  };
  ways[index].from->set_handler(std::move(handler));
}

void StreamRelay::State::on_data(Way& way, std::string_view data) {
  const auto self = shared_from_this();
  if (way.tap) way.tap(data);
  if (done) return;
  if (way.broken) {
    way.from->consume(data.size());
    return;
  }
  if (way.queue.empty()) {
    const auto piece = data.substr(0, way.to->writable());
    way.to->write(piece);
    way.from->consume(piece.size());
    data.remove_prefix(piece.size());
  }
  way.queue.append(data);
}

void StreamRelay::State::move(Way& way) {
  if (done || way.broken || way.passed_end) return;
  while (!way.queue.empty() && way.to->writable() > 0) {
    const auto piece = way.queue.front().substr(0, way.to->writable());
    const std::size_t bytes = piece.size();
    way.to->write(piece);
    way.from->consume(bytes);
    way.queue.pop(bytes);
  }
  if (!way.queue.empty()) return;
  if (way.ended) {
    way.passed_end = true;
    way.to->shutdown_write();
    finish_if_done();
  } else if (way.from_reset) {
    // What came before the reset has been passed on; now the other side hears of it. A lost link is
    // a matter of the side that lost it.
    way.to->reset(*way.from_reset == ResetReason::kLinkDown ? ResetReason::kCancelled
                                                            : *way.from_reset);
    finish();
  }
}

void StreamRelay::State::on_reset(std::size_t index, ResetReason reason) {
  if (done) return;
  Way& in = ways[index];
  Way& out = ways[1 - index];
  in.from_reset = reason;
  // The stream that was reset takes nothing more; the other side may still send until it hears it.
  out.broken = true;
  out.from->consume(out.queue.size());
  out.queue.clear();
  if (in.passed_end || in.broken) {
    finish();
  } else {
    move(in);
  }
}

void StreamRelay::State::finish_if_done() {
  const auto over = [](const Way& way) { return way.passed_end || way.broken; };
  if (over(ways[0]) && over(ways[1])) finish();
}

void StreamRelay::State::finish() {
  const auto self = shared_from_this();
  if (std::exchange(done, true)) return;
  a.reset();
  b.reset();
  const auto tell = std::exchange(on_done, nullptr);
  if (tell) tell();
}

StreamRelay::StreamRelay(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b, Options options)
    : state_(std::make_shared<State>()) {
  state_->a = std::move(a);
  state_->b = std::move(b);
  state_->ways[0].tap = std::move(options.a_to_b);
  state_->ways[1].tap = std::move(options.b_to_a);
  state_->on_done = std::move(options.on_done);
  state_->start();
}

StreamRelay::~StreamRelay() {
  state_->done = true;
  state_->on_done = nullptr;
  state_->a.reset();
  state_->b.reset();
}

}  // namespace wire
