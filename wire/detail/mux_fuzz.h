// What the two fuzz targets of MuxLink share: hostile bytes into one end of a link whose owner does
// everything an owner may do.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/log.h"
#include "wire/frame.h"
#include "wire/link.h"
#include "wire/mux_link.h"

namespace wire::detail {

// The first two bytes of an input.
enum FuzzFlag : std::uint8_t {
  kSayHello = 1,       // a good hello comes first
  kBuildFrames = 2,    // the rest describes frames instead of being their bytes
  kConsume = 4,        // the owner takes what comes
  kEcho = 8,           // it answers with the same bytes
  kOpenStreams = 16,   // it opens streams of its own
  kDestroyEarly = 32,  // it destroys streams inside their callbacks
  kThrow = 64,         // its handlers throw at some data
  kLateHandler = 128,  // it sets handlers when all has come
};

class MuxFuzz {
 public:
  MuxFuzz(Side side, std::uint8_t flags, std::uint8_t chunk) : flags_(flags), chunk_(chunk + 1U) {
    base::set_log_level(base::LogLevel::kOff);
    auto pair = base::make_socket_pair(SOCK_STREAM | SOCK_NONBLOCK);
    peer_ = std::move(pair.second);
    MuxOptions options;
    options.side = side;
    options.max_streams = 6;
    link_ = make_mux_link(loop_, std::move(pair.first), options);
    Link::Handler handler;
    handler.on_stream = [this](std::unique_ptr<Stream> stream, const std::string& service,
                               const std::string&) {
      if (service.size() % 5 == 4) return;
      own(std::move(stream));
    };
    handler.on_down = [this](const std::string&) {
      if (++downs_ > 1) __builtin_trap();
    };
    link_->set_handler(std::move(handler));
  }

  void run(std::string_view input) {
    if ((flags_ & kOpenStreams) != 0) {
      own(link_->open("stdio", "a"));
      own(link_->open("control", ""));
    }
    std::string bytes;
    if ((flags_ & kSayHello) != 0)
      add_frame(bytes, FrameType::kHello, 0, encode_hello({kLinkVersion, 1, kStreamWindowBytes}));
    if ((flags_ & kBuildFrames) != 0) {
      build(bytes, input);
    } else {
      bytes += input;
    }
    // Small pieces for short inputs only: each costs a round of the loop.
    const std::size_t piece_bytes = std::max(chunk_ * chunk_, bytes.size() / 32);
    for (std::string_view rest = bytes; !rest.empty();) {
      const auto piece = rest.substr(0, piece_bytes);
      const ssize_t n = ::send(peer_.get(), piece.data(), piece.size(), MSG_NOSIGNAL);
      if (n > 0) rest.remove_prefix(static_cast<std::size_t>(n));
      turn();
      if (n <= 0) break;
    }
    if ((flags_ & kLateHandler) != 0) {
      for (auto& owned : streams_) attach(owned);
    }
    turn();
    peer_.reset();
    for (int i = 0; i < 8; ++i) turn();
    if (downs_ != 1) __builtin_trap();
  }

 private:
  struct Owned {
    std::unique_ptr<Stream> stream;
    std::size_t held = 0;
    bool reset = false;
  };

  void own(std::unique_ptr<Stream> stream) {
    streams_.push_back(std::make_unique<Owned>());
    streams_.back()->stream = std::move(stream);
    if ((flags_ & kLateHandler) == 0) attach(streams_.back());
  }

  void attach(const std::unique_ptr<Owned>& box) {
    Owned* owned = box.get();
    if (!owned->stream) return;
    Stream::Handler handler;
    handler.on_data = [this, owned](std::string_view data) {
      if (owned->reset) __builtin_trap();
      if ((flags_ & kThrow) != 0 && data[0] == 't') throw base::Error("malformed");
      owned->held += data.size();
      if (owned->held > kStreamWindowBytes) __builtin_trap();
      Stream& stream = *owned->stream;
      if ((flags_ & kEcho) != 0) stream.write(data.substr(0, stream.writable()));
      if ((flags_ & kConsume) != 0) {
        owned->held -= data.size();
        stream.consume(data.size());
      }
      if ((flags_ & kDestroyEarly) != 0 && data.size() % 3 == 0) owned->stream.reset();
    };
    handler.on_eof = [this, owned] {
      if ((flags_ & kEcho) != 0) owned->stream->shutdown_write();
      if ((flags_ & kDestroyEarly) != 0) owned->stream.reset();
    };
    handler.on_writable = [owned] {
      owned->stream->write(std::string(std::min<std::size_t>(owned->stream->writable(), 100), 'w'));
    };
    handler.on_reset = [owned](ResetReason) {
      if (owned->reset) __builtin_trap();
      owned->reset = true;
    };
    owned->stream->set_handler(std::move(handler));
  }

  static void add_frame(std::string& out, FrameType type, std::uint32_t stream,
                        std::string_view payload) {
    const auto header = encode_header({static_cast<std::uint32_t>(payload.size()), stream, type});
    out.append(header.data(), header.size());
    out += payload;
  }

  // Four bytes describe a frame, so that most inputs get past the framing.
  static void build(std::string& out, std::string_view input) {
    while (input.size() >= 4 && out.size() < 2 * kStreamWindowBytes) {
      const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
      const auto type = static_cast<FrameType>(byte(0) % 8);
      const std::uint32_t stream = byte(1) % 32;
      const std::uint32_t value = byte(2) * 256U + byte(3);
      input.remove_prefix(4);
      if (type == FrameType::kOpen) {
        add_frame(out, type, stream, encode_open({std::string(1 + value % 8, 's'), "p"}));
      } else if (type == FrameType::kData) {
        add_frame(out, type, stream,
                  std::string(1 + value % kMaxPayloadBytes, value % 7 ? 'd' : 't'));
      } else if (type == FrameType::kEof) {
        add_frame(out, type, stream, {});
      } else if (type == FrameType::kCredit || type == FrameType::kReset) {
        add_frame(out, type, stream, encode_u32(value));
      } else {
        const std::size_t bytes = std::min<std::size_t>(value % 64, input.size());
        add_frame(out, type, stream, input.substr(0, bytes));
        input.remove_prefix(bytes);
      }
    }
  }

  // Lets the link work, and takes what it answers.
  void turn() {
    char buffer[65536];
    for (int i = 0; i < 3; ++i) {
      loop_.run_once(std::chrono::milliseconds(0));
      while (peer_ && ::recv(peer_.get(), buffer, sizeof buffer, MSG_DONTWAIT) > 0) {
      }
    }
  }

  const std::uint8_t flags_;
  const std::size_t chunk_;
  base::EventLoop loop_;
  base::Fd peer_;
  std::vector<std::unique_ptr<Owned>> streams_;
  std::unique_ptr<Link> link_;
  int downs_ = 0;
};

inline int fuzz_mux_link(Side side, const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  MuxFuzz fuzz(side, data[0], data[1]);
  fuzz.run({reinterpret_cast<const char*>(data) + 2, size - 2});
  return 0;
}

}  // namespace wire::detail
