#include "wire/frame.h"

#include <gtest/gtest.h>

#include "wire/link.h"

namespace wire {
namespace {

std::string header_bytes(const FrameHeader& header) {
  const auto bytes = encode_header(header);
  return std::string(bytes.data(), bytes.size());
}

TEST(FrameTest, HeaderSurvivesTheRoundTrip) {
  const auto header = decode_header(header_bytes({kMaxPayloadBytes, 0x01020304, FrameType::kData}));
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header.value().length, kMaxPayloadBytes);
  EXPECT_EQ(header.value().stream, 0x01020304U);
  EXPECT_EQ(header.value().type, FrameType::kData);
}

TEST(FrameTest, HeaderIsLittleEndianAtFixedOffsets) {
  EXPECT_EQ(header_bytes({0x0102, 0x0304, FrameType::kData}),
            std::string("\x02\x01\0\0\x04\x03\0\0\x03\0\x4d\xfc", 12));
}

TEST(FrameTest, HeadersNoPeerOfOursSendsAreRefused) {
  const auto refused = [](const FrameHeader& header) {
    return !decode_header(header_bytes(header)).ok();
  };
  EXPECT_TRUE(refused({kMaxPayloadBytes + 1, 1, FrameType::kData}));
  EXPECT_TRUE(refused({0, 1, FrameType::kData}));
  EXPECT_TRUE(refused({1, 0, FrameType::kData}));
  EXPECT_TRUE(refused({14, 1, FrameType::kHello}));
  EXPECT_TRUE(refused({13, 0, FrameType::kHello}));
  EXPECT_TRUE(refused({65, 0, FrameType::kHello}));
  EXPECT_TRUE(refused({2, 1, FrameType::kOpen}));
  EXPECT_TRUE(refused({2 + kMaxServiceBytes + kMaxArgumentBytes + 1, 1, FrameType::kOpen}));
  EXPECT_TRUE(refused({1, 1, FrameType::kEof}));
  EXPECT_TRUE(refused({3, 1, FrameType::kCredit}));
  EXPECT_TRUE(refused({5, 1, FrameType::kReset}));
  EXPECT_TRUE(refused({0, 1, static_cast<FrameType>(0)}));
  EXPECT_TRUE(refused({0, 1, static_cast<FrameType>(9)}));
}

TEST(FrameTest, AlteredMarkOrReservedByteIsRefused) {
  const std::string good = header_bytes({1, 1, FrameType::kData});
  ASSERT_TRUE(decode_header(good).ok());
  for (const std::size_t at : {9, 10, 11}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    EXPECT_FALSE(decode_header(bad).ok()) << at;
  }
  EXPECT_FALSE(decode_header(std::string_view(good).substr(0, 11)).ok());
}

TEST(FrameTest, HelloOfALaterVersionIsReadAsFarAsItIsKnown) {
  std::string payload = encode_hello({9, 0x1122334455667788, 4096});
  payload += "more";
  const auto hello = decode_hello(payload);
  ASSERT_TRUE(hello.ok());
  EXPECT_EQ(hello.value().version, 9);
  EXPECT_EQ(hello.value().epoch, 0x1122334455667788U);
  EXPECT_EQ(hello.value().window_bytes, 4096U);
  EXPECT_FALSE(decode_hello(payload.substr(0, 13)).ok());
}

TEST(FrameTest, OpenRequestSurvivesTheRoundTripAtItsLimits) {
  const OpenRequest request{std::string(kMaxServiceBytes, 's'),
                            std::string(kMaxArgumentBytes, 'a')};
  const auto decoded = decode_open(encode_open(request));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value().service, request.service);
  EXPECT_EQ(decoded.value().argument, request.argument);
}

TEST(FrameTest, MalformedOpenRequestsAreRefused) {
  using namespace std::string_literals;
  for (const std::string& payload :
       {""s, "\0\0"s, "\1"s, "\1s"s, "\2s\0"s, "\1s\1"s, "\1s\0x"s, "\1 \0"s, "\1s\1\n"s,
        "\xff"s + std::string(160, 's'), "\1s\xff"s + std::string(100, 'a')}) {
    EXPECT_FALSE(decode_open(payload).ok()) << base::quoted(payload);
  }
  EXPECT_THROW(encode_open({"", ""}), base::Error);
  EXPECT_THROW(encode_open({std::string(kMaxServiceBytes + 1, 's'), ""}), base::Error);
  EXPECT_THROW(encode_open({"s", std::string(kMaxArgumentBytes + 1, 'a')}), base::Error);
  EXPECT_THROW(encode_open({"s", "with space"}), base::Error);
}

TEST(FrameTest, NumberNeedsExactlyFourBytes) {
  EXPECT_EQ(decode_u32(encode_u32(0xfffefdfc)).take(), 0xfffefdfcU);
  EXPECT_FALSE(decode_u32("123").ok());
  EXPECT_FALSE(decode_u32("12345").ok());
}

}  // namespace
}  // namespace wire
