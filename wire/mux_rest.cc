// A link at rest, and what follows it: the same epoch goes on, or a new one begins.
#include <utility>

#include "wire/detail/mux_core.h"

namespace wire::detail {

void MuxCore::suspend(std::function<void()> done) {
  if (down_ || !ready_) return;
  on_suspended_ = std::move(done);
  suspending_ = true;
  const Cork cork(*this);
}

void MuxCore::resume() {
  on_suspended_ = nullptr;
  if (down_ || !std::exchange(suspending_, false)) return;
  const Cork cork(*this);
  if (!std::exchange(suspend_sent_, false)) return;
  // Ahead of all that was queued meanwhile.
  const auto header = encode_header({0, 0, FrameType::kResume});
  control_.insert(0, header.data(), header.size());
}

// The guest answers with the same, after the frame it is at; the host waits for that answer.
void MuxCore::handle_suspend() {
  if (options_.side == Side::kGuest) {
    suspending_ = true;
    return;
  }
  if (!suspending_) return;  // an answer to one that was given up
  const auto self = shared_from_this();
  if (const auto done = std::exchange(on_suspended_, nullptr)) run_handler("on_suspended", done);
}

void MuxCore::handle_resume() {
  if (options_.side != Side::kGuest) return;
  suspending_ = false;
  suspend_sent_ = false;
}

bool MuxCore::can_renew(const Hello& hello) const {
  return options_.side == Side::kGuest && suspend_sent_ && hello.epoch > epoch_ && handler_ &&
         handler_->on_renewed;
}

// Nothing is under way, so the bytes of the new epoch begin here in both directions.
void MuxCore::renew() {
  for (const auto& [id, stream] : std::exchange(streams_, {})) {
    stream->receive_reset(ResetReason::kLinkDown);
  }
  round_.clear();
  control_.clear();
  unsent_opens_.clear();
  data_stream_.reset();
  last_peer_id_ = 0;
  next_id_ = 2;
  suspending_ = false;
  suspend_sent_ = false;
}

}  // namespace wire::detail
