#include "wire/frame.h"

#include "wire/link.h"

namespace wire {
namespace {

constexpr std::size_t kHelloBytes = 14;
// A later version may say more; what it says first stays where it is.
constexpr std::size_t kMaxHelloBytes = 64;
constexpr std::size_t kMaxOpenBytes = 2 + kMaxServiceBytes + kMaxArgumentBytes;

template <typename T>
void put(char* out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    out[i] = static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
  }
}

template <typename T>
T get(const char* in) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(
        value | static_cast<T>(static_cast<T>(static_cast<unsigned char>(in[i])) << (8 * i)));
  }
  return value;
}

bool length_fits(FrameType type, std::size_t length) {
  switch (type) {
    case FrameType::kHello:
      return length >= kHelloBytes && length <= kMaxHelloBytes;
    case FrameType::kOpen:
      return length >= 3 && length <= kMaxOpenBytes;
    case FrameType::kData:
      return length >= 1 && length <= kMaxPayloadBytes;
    case FrameType::kEof:
    case FrameType::kSuspend:
    case FrameType::kResume:
      return length == 0;
    case FrameType::kCredit:
    case FrameType::kReset:
      return length == 4;
  }
  return false;
}

bool is_identifier(std::string_view text) {
  for (const char c : text) {
    if (c < 0x21 || c > 0x7e) return false;
  }
  return true;
}

}  // namespace

std::array<char, kFrameHeaderBytes> encode_header(const FrameHeader& header) {
  std::array<char, kFrameHeaderBytes> bytes{};
  put(bytes.data(), header.length);
  put(bytes.data() + 4, header.stream);
  put(bytes.data() + 8, static_cast<std::uint8_t>(header.type));
  put(bytes.data() + 10, kFrameMark);
  return bytes;
}

base::Result<FrameHeader> decode_header(std::string_view bytes) {
  if (bytes.size() < kFrameHeaderBytes) return base::Error("frame header cut short");
  if (get<std::uint16_t>(bytes.data() + 10) != kFrameMark || bytes[9] != 0) {
    return base::Error("frame header without its mark");
  }
  const auto type = static_cast<unsigned char>(bytes[8]);
  if (type < 1 || type > 8) return base::Error(base::cat("frame of unknown type ", int{type}));
  FrameHeader header;
  header.length = get<std::uint32_t>(bytes.data());
  header.stream = get<std::uint32_t>(bytes.data() + 4);
  header.type = static_cast<FrameType>(type);
  if (!length_fits(header.type, header.length)) {
    return base::Error(base::cat("frame of type ", int{type}, " with ", header.length, " bytes"));
  }
  const bool of_the_link = header.type == FrameType::kHello || header.type == FrameType::kSuspend ||
                           header.type == FrameType::kResume;
  if ((header.stream == 0) != of_the_link) {
    return base::Error(base::cat("frame of type ", int{type}, " on stream ", header.stream));
  }
  return header;
}

std::string encode_hello(const Hello& hello) {
  std::string bytes(kHelloBytes, '\0');
  put(bytes.data(), hello.version);
  put(bytes.data() + 2, hello.epoch);
  put(bytes.data() + 10, hello.window_bytes);
  return bytes;
}

base::Result<Hello> decode_hello(std::string_view payload) {
  if (payload.size() < kHelloBytes) return base::Error("hello cut short");
  Hello hello;
  hello.version = get<std::uint16_t>(payload.data());
  hello.epoch = get<std::uint64_t>(payload.data() + 2);
  hello.window_bytes = get<std::uint32_t>(payload.data() + 10);
  return hello;
}

std::string encode_open(const OpenRequest& request) {
  if (request.service.empty() || request.service.size() > kMaxServiceBytes ||
      request.argument.size() > kMaxArgumentBytes || !is_identifier(request.service) ||
      !is_identifier(request.argument)) {
    throw base::Error(base::cat("opening stream ", base::quoted(request.service),
                                ": not a service name and argument"));
  }
  std::string bytes;
  bytes += static_cast<char>(request.service.size());
  bytes += request.service;
  bytes += static_cast<char>(request.argument.size());
  bytes += request.argument;
  return bytes;
}

base::Result<OpenRequest> decode_open(std::string_view payload) {
  const auto take = [&payload](std::size_t limit, std::string& out) {
    if (payload.empty()) return false;
    const std::size_t length = static_cast<unsigned char>(payload[0]);
    if (length > limit || payload.size() < 1 + length) return false;
    out = payload.substr(1, length);
    payload.remove_prefix(1 + length);
    return is_identifier(out);
  };
  OpenRequest request;
  if (!take(kMaxServiceBytes, request.service) || request.service.empty() ||
      !take(kMaxArgumentBytes, request.argument) || !payload.empty()) {
    return base::Error("malformed request for a stream");
  }
  return request;
}

std::string encode_u32(std::uint32_t value) {
  std::string bytes(4, '\0');
  put(bytes.data(), value);
  return bytes;
}

base::Result<std::uint32_t> decode_u32(std::string_view payload) {
  if (payload.size() != 4) return base::Error("not a 32-bit number");
  return get<std::uint32_t>(payload.data());
}

}  // namespace wire
