#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/link.h"

namespace wire {

// Moves bytes between a Stream and descriptors (pipe, pty, file, socket), non-blocking, holding at
// most kStreamWindowBytes. Used by the agent for a process's pipes and by the CLI for its stdio.
//
// Shared descriptors (the CLI's stdin and stdout belong to the shell too) must not be switched to
// O_NONBLOCK, which is a property of the open file: pass `owned = false` and the pump polls before
// each bounded read or write instead. The numbers passed are closed all the same: duplicate first.
//
// Callbacks come from the event loop and may destroy the pump. The program has to ignore SIGPIPE.
class StreamPump {
 public:
  struct Options {
    base::Fd source;  // bytes read here go to the stream; an invalid one is at its end at once
    base::Fd sink;  // bytes of the stream go here; may be invalid: then they are consumed and lost
    bool owned = true;
    // Sees what was read from `source` before it is sent; returns how many bytes to send (fewer:
    // the rest is dropped and reading stops, as for a detach sequence; the stream is not ended, and
    // on_source_done does not come).
    std::function<std::size_t(std::string_view)> filter;
    // A pty reports EIO instead of end of file when its last user has gone.
    bool eio_is_eof = false;
    // That user may get a successor (an init closes its terminal and opens it again later): the end
    // comes only with finish_source().
    bool outlives_hangup = false;
  };
  struct Handler {
    // `source` is at its end (or its error) and all of it has been handed to the stream, which was
    // then shut down for writing.
    std::function<void()> on_source_done;
    // The peer's data is all in `sink` (which was closed), or sink's reader has gone.
    std::function<void()> on_sink_done;
    // The stream was reset before `source` was at its end; at once, while on_reset comes last.
    std::function<void()> on_source_abandoned;
    // The stream was reset; nothing moves any more. What arrived before has been written to `sink`.
    std::function<void(ResetReason)> on_reset;
  };

  StreamPump(base::EventLoop& loop, std::unique_ptr<Stream> stream, Options options,
             Handler handler);
  ~StreamPump();
  StreamPump(const StreamPump&) = delete;
  StreamPump& operator=(const StreamPump&) = delete;

  // Reads what is left in `source` now, hands it over and finishes (used when the process that
  // wrote it has ended but a grandchild keeps the pipe open). on_source_done follows from the loop,
  // once the peer has granted credit for all of it.
  void finish_source();
  // Closes `sink` after what is on its way there, as if the peer had finished; what comes later is
  // consumed and lost.
  void close_sink();
  bool source_done() const;
  bool sink_done() const;
  // Why the sink did not get everything: the errno of the write that failed (EPIPE when its reader
  // went away); 0 when none did.
  int sink_error() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

// Joins two streams both ways: data, end, credit (a byte is consumed on one side only when the other
// side took it, so flow control is end to end) and reset, which follows the data that came before
// it. `a_to_b` and `b_to_a`, where set, see the bytes on their way (the monitor's log). Ends itself;
// on_done is its last call and may destroy the relay.
class StreamRelay {
 public:
  using Tap = std::function<void(std::string_view)>;
  struct Options {
    Tap a_to_b;
    Tap b_to_a;
    std::function<void()> on_done;
  };
  StreamRelay(std::unique_ptr<Stream> a, std::unique_ptr<Stream> b, Options options);
  ~StreamRelay();
  StreamRelay(const StreamRelay&) = delete;
  StreamRelay& operator=(const StreamRelay&) = delete;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace wire
