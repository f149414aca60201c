#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "wire/link.h"

namespace wire {

// Length-prefixed messages (u32 little-endian, then that many bytes) over a Stream; the text is JSON
// in every service of ours. Owns the stream. Callbacks may destroy this object.
class MessageStream {
 public:
  static constexpr std::size_t kMaxMessageBytes = 1 << 20;

  struct Handler {
    std::function<void(std::string_view message)> on_message;
    // The peer writes no more, after its last message.
    std::function<void()> on_end;
    // The last call. A message that is too long resets the stream with kProtocol.
    std::function<void(ResetReason)> on_reset;
  };

  explicit MessageStream(std::unique_ptr<Stream> stream);
  ~MessageStream();
  MessageStream(const MessageStream&) = delete;
  MessageStream& operator=(const MessageStream&) = delete;

  void set_handler(Handler handler);
  // Queues a message of at most kMaxMessageBytes; the queue drains as the peer grants credit. When
  // more than 4 MiB wait the stream is reset with kRefused: the peer has stopped reading.
  void send(std::string_view message);
  // No more messages after those queued.
  void finish();
  void reset(ResetReason reason);
  bool open() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with callbacks under way
};

}  // namespace wire
