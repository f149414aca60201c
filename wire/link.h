#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace wire {

// Why a stream ended before both sides had finished it. The numbers are on the wire.
enum class ResetReason : std::uint32_t {
  kCancelled = 1,  // the peer has no use for it any more
  kNoService = 2,  // nobody serves what was asked for
  kRefused = 3,    // too many streams, or not now
  kProtocol = 4,   // the peer broke a rule on this stream (overran its credit, bad message)
  kLinkDown = 5,   // local only: the link is gone
};
const char* to_string(ResetReason reason);

// A bidirectional byte stream with half-close and flow control, inside a Link. Belongs to the
// link's event loop thread. Destroying it resets it unless both directions are finished; after
// shutdown_write() the reset follows what was written, which therefore still arrives. It may outlive
// its link: then every call does nothing.
class Stream {
 public:
  // A std::exception that leaves a callback is logged and costs the stream (kProtocol), so that a
  // parser may throw at what the peer sent.
  struct Handler {
    // Without it what comes is consumed and lost. `data` is valid during the call only. Whoever takes it owes consume() for each byte once the
    // byte has really gone somewhere; until then it counts against the peer's credit, which bounds
    // what a receiver must hold at kStreamWindowBytes.
    std::function<void(std::string_view data)> on_data;
    std::function<void()> on_eof;       // the peer writes no more; comes after its last data
    std::function<void()> on_writable;  // writable() has become greater than 0
    // The last call; also when the link goes down and, from the event loop, after reset() of one's
    // own. The handler is destroyed after it.
    std::function<void(ResetReason)> on_reset;
  };

  virtual ~Stream() = default;

  // Callbacks may destroy the stream. Data that came earlier is delivered from the event loop.
  virtual void set_handler(Handler handler) = 0;

  // How many bytes write() takes now.
  virtual std::size_t writable() const = 0;
  // `data` must not be longer than writable() (std::length_error); it is copied.
  virtual void write(std::string_view data) = 0;
  // No more writes from this side; data written before still arrives.
  virtual void shutdown_write() = 0;
  virtual void consume(std::size_t bytes) = 0;
  virtual void reset(ResetReason reason) = 0;
  // False once reset by either side, or when both directions are finished.
  virtual bool open() const = 0;
};

// What a receiver grants a sender at the start of a stream, and the most it must ever hold.
inline constexpr std::size_t kStreamWindowBytes = 256 * 1024;
// Names of services and their argument are short identifiers: printable ASCII without spaces.
inline constexpr std::size_t kMaxServiceBytes = 32;
inline constexpr std::size_t kMaxArgumentBytes = 128;

// A connection between two programs that carries many streams. One carrier multiplexes them over a
// byte stream (MuxLink: virtio-serial port, UNIX socket); with vsock every stream is a connection.
class Link {
 public:
  struct Handler {
    // The peer has said hello with a version we speak.
    std::function<void()> on_ready;
    // The peer opened a stream. Destroying `stream` inside the call refuses it. Without this
    // callback every stream is answered with kNoService.
    std::function<void(std::unique_ptr<Stream> stream, std::string service, std::string argument)>
        on_stream;
    // The link is gone: end of file, I/O error or a peer that broke the framing. The last call; all
    // streams were reset with kLinkDown before it.
    std::function<void(std::string why)> on_down;
    // Guest: the host has begun a new epoch, as in a machine that was restored from a snapshot. Every
    // stream was reset with kLinkDown before; new ones may come. Without this callback the link goes
    // down instead.
    std::function<void()> on_renewed{};
  };

  virtual ~Link() = default;
  virtual void set_handler(Handler handler) = 0;
  // Streams may be opened and written before on_ready; bytes wait until the peer is there. Returns a
  // stream that is reset from the event loop when the link is down or has too many streams. Throws
  // base::Error for a service or argument that is not an identifier.
  virtual std::unique_ptr<Stream> open(std::string_view service, std::string_view argument) = 0;
  virtual bool ready() const = 0;

  // Host: brings the link to rest, for a snapshot of the guest. Streams stay and what is written to
  // them waits. When `done` is called nothing is under way in either direction, and nothing will be
  // before resume(), which may also give up a suspend() that has not come to its end (`done` is not
  // called then, nor when the link goes down).
  virtual void suspend(std::function<void()> done) = 0;
  virtual void resume() = 0;
};

}  // namespace wire
