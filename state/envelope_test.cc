#include "state/envelope.h"

#include <gtest/gtest.h>

#include <string>

namespace state {
namespace {

const Envelope kExample{"vm", 3, R"({"name":"web1","pid":42})"};

TEST(EnvelopeTest, EncodedRecordDecodesToTheSame) {
  const auto decoded = decode_envelope(encode_envelope(kExample));
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ(decoded.value(), kExample);
}

TEST(EnvelopeTest, EveryTruncationIsRefused) {
  const std::string text = encode_envelope(kExample);
  // The last byte is the newline, which carries nothing.
  for (std::size_t length = 0; length + 1 < text.size(); ++length) {
    EXPECT_FALSE(decode_envelope(text.substr(0, length)).ok()) << length;
  }
}

TEST(EnvelopeTest, AlteredRecordIsRefusedByItsChecksum) {
  std::string text = encode_envelope(kExample);
  text.replace(text.find("web1"), 4, "web2");
  const auto decoded = decode_envelope(text);
  ASSERT_FALSE(decoded.ok());
  EXPECT_NE(std::string(decoded.error().what()).find("checksum"), std::string::npos);
}

TEST(EnvelopeTest, WrongTypesAndStrangersAreRefused) {
  for (const char* text : {
           "",
           "null",
           "[]",
           "{}",
           R"({"checksum":"x","record":{},"schema":1})",
           R"({"checksum":"x","record":{},"schema":1,"type":7})",
           R"({"checksum":"x","record":{},"schema":"1","type":"vm"})",
           R"({"checksum":"x","record":[],"schema":1,"type":"vm"})",
           R"({"checksum":"x","record":{},"schema":0,"type":"vm"})",
           R"({"checksum":"x","record":{},"schema":1e999,"type":"vm"})",
           R"({"checksum":"x","record":{},"schema":1,"type":"vm","more":1})",
           "{\"checksum\":\"x\",\"record\":{\"a\":\"\xff\"},\"schema\":1,\"type\":\"vm\"}",
       }) {
    EXPECT_FALSE(decode_envelope(text).ok()) << text;
  }
}

TEST(EnvelopeTest, DeepNestingIsRefused) {
  const std::string text = R"({"checksum":"x","record":{"a":)" + std::string(100'000, '[') +
                           std::string(100'000, ']') + R"(},"schema":1,"type":"vm"})";
  EXPECT_FALSE(decode_envelope(text).ok());
}

TEST(EnvelopeTest, EncodingRefusesWhatIsNoObject) {
  for (const char* json : {"", "[]", "1", "{", "{} {}", "{\"a\":\"\xff\"}", "{\"a\":1e999}"}) {
    EXPECT_THROW(encode_envelope({"vm", 1, json}), base::Error) << json;
  }
}

TEST(EnvelopeTest, EncodingRefusesATooLongRecord) {
  const std::string json = R"({"a":")" + std::string(kMaxRecordBytes, 'x') + "\"}";
  EXPECT_THROW(encode_envelope({"vm", 1, json}), base::Error);
}

TEST(EnvelopeTest, NumbersAndTextSurviveUnchanged) {
  const Envelope envelope{
      "vm", 1, R"({"big":18446744073709551615,"f":0.1,"neg":-9223372036854775808,"u":"ü\n"})"};
  EXPECT_EQ(decode_envelope(encode_envelope(envelope)).value(), envelope);
}

}  // namespace
}  // namespace state
