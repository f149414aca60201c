// Two ends of a link on one event loop, and a peer made of raw bytes. Every call of a handler is
// counted, so a test can say what came and in which order.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/frame.h"
#include "wire/link.h"
#include "wire/mux_link.h"

namespace wire::test {

inline constexpr auto kPatience = std::chrono::seconds(20);

// Takes everything at once and keeps it, unless told not to consume.
struct Recorder {
  std::unique_ptr<Stream> stream;
  std::string data;
  bool eof = false;
  int writable_calls = 0;
  int reset_calls = 0;
  ResetReason reason = ResetReason::kCancelled;
  bool consuming = true;

  Recorder() = default;
  explicit Recorder(std::unique_ptr<Stream> s) { attach(std::move(s)); }
  Recorder(const Recorder&) = delete;
  Recorder& operator=(const Recorder&) = delete;

  void attach(std::unique_ptr<Stream> s) {
    stream = std::move(s);
    stream->set_handler({[this](std::string_view piece) {
                           data += piece;
                           if (consuming) stream->consume(piece.size());
                         },
                         [this] { eof = true; }, [this] { ++writable_calls; },
                         [this](ResetReason why) {
                           ++reset_calls;
                           reason = why;
                         }});
  }
};

// What arrived on one end of a link.
struct Acceptor {
  struct Arrival {
    std::string service;
    std::string argument;
    std::unique_ptr<Recorder> recorder;
  };
  std::vector<Arrival> arrivals;
  bool ready = false;
  int down_calls = 0;
  int renewals = 0;
  std::string why;
  bool consuming = true;

  Link::Handler handler() {
    return {[this] { ready = true; },
            [this](std::unique_ptr<Stream> stream, std::string service, std::string argument) {
              auto recorder = std::make_unique<Recorder>();
              recorder->consuming = consuming;
              recorder->attach(std::move(stream));
              arrivals.push_back({std::move(service), std::move(argument), std::move(recorder)});
            },
            [this](std::string text) {
              ++down_calls;
              why = std::move(text);
            },
            [this] { ++renewals; }};
  }
};

inline void set_socket_buffers(const base::Fd& fd, int bytes) {
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

// Host and guest of one link.
struct LinkPair {
  base::EventLoop loop;
  Acceptor at_host;
  Acceptor at_guest;
  std::unique_ptr<Link> host;
  std::unique_ptr<Link> guest;

  explicit LinkPair(int buffer_bytes = 0, std::size_t max_streams = 256) {
    auto pair = base::make_socket_pair(SOCK_STREAM);
    if (buffer_bytes != 0) {
      set_socket_buffers(pair.first, buffer_bytes);
      set_socket_buffers(pair.second, buffer_bytes);
    }
    host = make_mux_link(loop, std::move(pair.first), {Side::kHost, 7, max_streams});
    guest = make_mux_link(loop, std::move(pair.second), {Side::kGuest, 0, max_streams});
    host->set_handler(at_host.handler());
    guest->set_handler(at_guest.handler());
  }

  template <typename F>
  bool until(F&& done) {
    return loop.run_until(std::forward<F>(done), kPatience);
  }
  // Lets everything under way arrive.
  void settle() {
    for (int i = 0; i < 20; ++i) loop.run_once(std::chrono::milliseconds(0));
  }
};

inline std::string frame(FrameType type, std::uint32_t stream, std::string_view payload = {}) {
  const auto header = encode_header({static_cast<std::uint32_t>(payload.size()), stream, type});
  return std::string(header.data(), header.size()) + std::string(payload);
}

// One end of a link against bytes that the test writes itself.
struct RawPeer {
  base::EventLoop loop;
  Acceptor acceptor;
  base::Fd raw;  // the peer's end
  std::unique_ptr<Link> link;
  std::string received;

  // `side` is that of the link under test.
  explicit RawPeer(Side side = Side::kHost, MuxOptions options = {}) {
    auto pair = base::make_socket_pair(SOCK_STREAM);
    raw = std::move(pair.second);
    options.side = side;
    link = make_mux_link(loop, std::move(pair.first), options);
    link->set_handler(acceptor.handler());
  }

  static std::string hello(std::uint64_t epoch = 1, std::uint32_t window = kStreamWindowBytes,
                           std::uint16_t version = kLinkVersion) {
    return frame(FrameType::kHello, 0, encode_hello({version, epoch, window}));
  }
  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(raw.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) bytes.remove_prefix(static_cast<std::size_t>(n));
      settle();
      if (n <= 0 && acceptor.down_calls != 0) return;
    }
    settle();
  }
  void settle() {
    for (int i = 0; i < 20; ++i) loop.run_once(std::chrono::milliseconds(0));
  }
  // What the link has sent so far, as frames.
  struct Frame {
    FrameHeader header;
    std::string payload;
  };
  std::vector<Frame> hear() {
    settle();
    char buffer[65536];
    for (ssize_t n; (n = ::recv(raw.get(), buffer, sizeof buffer, MSG_DONTWAIT)) > 0;) {
      received.append(buffer, static_cast<std::size_t>(n));
      settle();
    }
    std::vector<Frame> frames;
    while (received.size() >= kFrameHeaderBytes) {
      const FrameHeader header =
          decode_header(std::string_view(received).substr(0, kFrameHeaderBytes)).take();
      if (received.size() < kFrameHeaderBytes + header.length) break;
      frames.push_back({header, received.substr(kFrameHeaderBytes, header.length)});
      received.erase(0, kFrameHeaderBytes + header.length);
    }
    return frames;
  }
  // The resets among what was heard, by stream.
  std::vector<std::pair<std::uint32_t, ResetReason>> hear_resets() {
    std::vector<std::pair<std::uint32_t, ResetReason>> resets;
    for (const auto& f : hear()) {
      if (f.header.type != FrameType::kReset) continue;
      resets.emplace_back(f.header.stream, static_cast<ResetReason>(decode_u32(f.payload).take()));
    }
    return resets;
  }
};

}  // namespace wire::test
