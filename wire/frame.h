#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

namespace wire {

// The frame of MuxLink, little-endian:
//   0  u32  payload length, at most kMaxPayloadBytes
//   4  u32  stream id (0 for kHello, kSuspend, kResume)
//   8  u8   type
//   9  u8   zero
//   10 u16  kFrameMark
// A receiver that finds anything else treats the link as broken.
inline constexpr std::size_t kFrameHeaderBytes = 12;
inline constexpr std::size_t kMaxPayloadBytes = 32 * 1024;
inline constexpr std::uint16_t kFrameMark = 0xfc4d;

enum class FrameType : std::uint8_t {
  kHello = 1,    // Hello, first frame of either side in an epoch
  kOpen = 2,     // u8 service length, service, u8 argument length, argument
  kData = 3,     // bytes
  kEof = 4,      // empty
  kCredit = 5,   // u32 bytes granted
  kReset = 6,    // u32 ResetReason
  kSuspend = 7,  // empty, stream 0: the sender's last frame until kResume or a new epoch
  kResume = 8,   // empty, stream 0: the host goes on after kSuspend
};

struct FrameHeader {
  std::uint32_t length = 0;
  std::uint32_t stream = 0;
  FrameType type = FrameType::kHello;
};

// Raised with whatever an older peer would not refuse but misread: 2 has ProcessStart's resolve_user.
inline constexpr std::uint16_t kLinkVersion = 2;

struct Hello {
  std::uint16_t version = kLinkVersion;
  std::uint64_t epoch = 0;
  std::uint32_t window_bytes = 0;  // initial credit the sender of this grants on every stream
};

std::array<char, kFrameHeaderBytes> encode_header(const FrameHeader& header);
// An Error for a frame no peer of ours would send.
base::Result<FrameHeader> decode_header(std::string_view bytes);

std::string encode_hello(const Hello& hello);
base::Result<Hello> decode_hello(std::string_view payload);

struct OpenRequest {
  std::string service;
  std::string argument;
};
std::string encode_open(const OpenRequest& request);
base::Result<OpenRequest> decode_open(std::string_view payload);

std::string encode_u32(std::uint32_t value);
base::Result<std::uint32_t> decode_u32(std::string_view payload);

}  // namespace wire
