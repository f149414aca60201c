#include "hypervisor/qemu/qmp.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "base/error.h"

namespace hypervisor::qemu {
namespace {

std::vector<std::string> lines(QmpFramer& framer) {
  std::vector<std::string> all;
  std::string_view line;
  while (framer.next(line)) all.emplace_back(line);
  return all;
}

TEST(QmpFramerTest, BytesInPiecesBecomeLines) {
  QmpFramer framer;
  std::vector<std::string> all;
  for (const char c : std::string("{\"a\":1}\r\n\n{\"b\":2}\nrest")) {
    framer.feed(std::string_view(&c, 1));
    for (auto& line : lines(framer)) all.push_back(std::move(line));
  }
  EXPECT_EQ(all, (std::vector<std::string>{"{\"a\":1}", "{\"b\":2}"}));
}

TEST(QmpFramerTest, SeveralLinesInOnePieceAreAllSeen) {
  QmpFramer framer;
  framer.feed("one\ntwo\r\nthree\n");
  EXPECT_EQ(lines(framer), (std::vector<std::string>{"one", "two", "three"}));
}

TEST(QmpFramerTest, LineOfTheGreatestLengthPasses) {
  QmpFramer framer;
  framer.feed(std::string(kMaxQmpLineBytes, 'x'));
  framer.feed("\n");
  EXPECT_EQ(lines(framer).at(0).size(), kMaxQmpLineBytes);
}

TEST(QmpFramerTest, LineWithoutEndIsRefused) {
  QmpFramer framer;
  framer.feed(std::string(kMaxQmpLineBytes + 1, 'x'));
  std::string_view line;
  EXPECT_THROW(framer.next(line), base::Error);
}

TEST(QmpParserTest, GreetingHasTheVersion) {
  nlohmann::json body;
  const auto message = parse_qmp_message(
      R"({"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":"x"},"capabilities":["oob"]}})",
      body);
  EXPECT_EQ(message.kind, QmpMessage::Kind::kGreeting);
  EXPECT_EQ(message.name, "7.2.22");
}

TEST(QmpParserTest, ReturnHasItsIdAndValue) {
  nlohmann::json body;
  const auto message = parse_qmp_message(R"({"return":{"actual":5},"id":9})", body);
  EXPECT_EQ(message.kind, QmpMessage::Kind::kReturn);
  EXPECT_EQ(message.id, 9U);
  EXPECT_EQ(body["actual"], 5);
}

TEST(QmpParserTest, ErrorHasClassAndDescription) {
  nlohmann::json body;
  const auto message =
      parse_qmp_message(R"({"id":3,"error":{"class":"GenericError","desc":"no"}})", body);
  EXPECT_EQ(message.kind, QmpMessage::Kind::kError);
  EXPECT_EQ(message.id, 3U);
  EXPECT_EQ(message.name, "GenericError");
  EXPECT_EQ(message.text, "no");
}

TEST(QmpParserTest, EventHasNameAndData) {
  nlohmann::json body;
  const auto message = parse_qmp_message(
      R"({"timestamp":{"seconds":1,"microseconds":2},"event":"SHUTDOWN","data":{"reason":"guest-reset"}})",
      body);
  EXPECT_EQ(message.kind, QmpMessage::Kind::kEvent);
  EXPECT_EQ(message.name, "SHUTDOWN");
  EXPECT_EQ(body["reason"], "guest-reset");
}

TEST(QmpParserTest, OverlongDescriptionIsCut) {
  nlohmann::json body;
  const std::string line =
      R"({"error":{"class":"x","desc":")" + std::string(100'000, 'y') + R"("}})";
  EXPECT_LE(parse_qmp_message(line, body).text.size(), 4096U);
}

class BadQmpLineTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BadQmpLineTest, IsRefused) {
  nlohmann::json body;
  EXPECT_THROW(parse_qmp_message(GetParam(), body), base::Error);
}

INSTANTIATE_TEST_SUITE_P(
    Malformed, BadQmpLineTest,
    ::testing::Values("", "nonsense", "[]", "{}", "7", "null", "{\"return\":1,\"id\":\"a\"}",
                      "{\"return\":1,\"id\":-1}", "{\"event\":7}", "{\"error\":\"x\"}",
                      "{\"error\":{\"class\":\"x\"}}", "{\"QMP\":{}}", "{\"QMP\":[]}",
                      "{\"QMP\":{\"version\":{\"qemu\":{\"major\":7}}}}", "{\"return\":1",
                      "{\"return\":\"\xff\"}", "{\"event\":\"x\"}trailing"));

TEST(QmpParserTest, DeepNestingIsRefused) {
  nlohmann::json body;
  const std::string line =
      "{\"return\":" + std::string(10'000, '[') + std::string(10'000, ']') + "}";
  EXPECT_THROW(parse_qmp_message(line, body), base::Error);
}

TEST(QmpCommandTest, ArgumentsAreLeftOutWhenThereAreNone) {
  EXPECT_EQ(nlohmann::json::parse(format_qmp_command("stop", nullptr, 4)),
            nlohmann::json({{"execute", "stop"}, {"id", 4}}));
  EXPECT_EQ(nlohmann::json::parse(format_qmp_command("balloon", {{"value", 5}}, 4)),
            nlohmann::json({{"execute", "balloon"}, {"id", 4}, {"arguments", {{"value", 5}}}}));
}

}  // namespace
}  // namespace hypervisor::qemu
