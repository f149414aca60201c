#pragma once

#include <cstdint>
#include <memory>

#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/link.h"

namespace wire {

// Which end this is: the two ends number the streams they open with odd and even ids.
enum class Side { kHost, kGuest };

struct MuxOptions {
  Side side = Side::kHost;
  // Chosen by the host; the guest adopts the host's. A restored VM continues under a new, higher
  // epoch: its host says hello to a guest whose link came to rest (Link::suspend) before the
  // snapshot, so nothing of an older epoch is ever taken for this one's.
  std::uint64_t epoch = 1;
  // Streams each end may have opened. On the guest link only the host opens any: three for each of the
  // 80 processes an agent takes (fc-agent/process_service.h), and its services.
  std::size_t max_streams = 256;
};

// Frames over one byte stream (wire/frame.h): streams with credits, served round robin, so that one
// stalled stream never holds up another. `fd` is made non-blocking. What the peer can make us hold
// is bounded: kStreamWindowBytes a stream, a bounded queue of control frames (reading pauses while
// the peer does not take our answers). A peer that breaks a rule of one stream loses that stream; one
// that breaks the framing loses the link.
//
// `fd` is a stream socket or a character device. On a device an end of file (or EIO) before the first
// byte means that the other end is not connected yet (a virtio-serial port whose host side is closed
// reads so and polls as hung up); the link waits for it without spinning. After the first byte it
// means, as on a socket, that the link is down.
std::unique_ptr<Link> make_mux_link(base::EventLoop& loop, base::Fd fd, MuxOptions options);

}  // namespace wire
