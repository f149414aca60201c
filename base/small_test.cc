// JSON limits, UTF-8, signal names, digests, log levels, rollback and cancellation.
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "base/base64.h"
#include "base/cancellation.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/event_loop.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/signals.h"
#include "base/utf8.h"

namespace base {
namespace {

std::string refusal(std::string_view text, std::size_t max_bytes = 1000, int max_depth = 8) {
  try {
    parse_json(text, max_bytes, max_depth);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ParseJsonTest, AcceptsWhatIsWithinItsLimits) {
  EXPECT_EQ(parse_json(R"({"a":[1,2.5,"x",null,true]})").at("a").size(), 5U);
  EXPECT_EQ(refusal("[[[[[[[[]]]]]]]]"), "");
  EXPECT_EQ(refusal(std::string(998, ' ') + "{}"), "");
}

TEST(ParseJsonTest, RefusesSizeDepthAndMalformedText) {
  EXPECT_NE(refusal(std::string(999, ' ') + "{}").find("limit is 1000"), std::string::npos);
  EXPECT_NE(refusal("[[[[[[[[[[]]]]]]]]]]").find("nested over 8"), std::string::npos);
  EXPECT_NE(
      refusal(R"({"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":1}}}}}}}}}})").find("nested"),
      std::string::npos);
  EXPECT_EQ(refusal("{\"a\":1,}"), "parsing JSON: invalid at byte 8");
  for (const char* text : {"", "{", "{}{}", "[1] x", "nul", "{'a':1}", "\"\xff\"", "\"\xc3\"",
                           "[1e999]", "\"a\nb\"", "\"\\ud800\""}) {
    EXPECT_NE(refusal(text), "") << quoted(text);
  }
}

TEST(ParseJsonTest, DeepHostileNestingEndsInAnErrorNotInACrash) {
  const std::string deep(5'000'000, '[');
  EXPECT_NE(refusal(deep, deep.size()).find("nested"), std::string::npos);
}

TEST(ParseSignalTest, AcceptsNamesAndNumbersAsPodmanDoes) {
  EXPECT_EQ(parse_signal("TERM"), SIGTERM);
  EXPECT_EQ(parse_signal("SIGTERM"), SIGTERM);
  EXPECT_EQ(parse_signal("sigkill"), SIGKILL);
  EXPECT_EQ(parse_signal("15"), 15);
  EXPECT_EQ(parse_signal("64"), 64);
  EXPECT_EQ(parse_signal("RTMIN"), SIGRTMIN);
  EXPECT_EQ(parse_signal("SIGRTMIN+3"), SIGRTMIN + 3);
  EXPECT_EQ(parse_signal("RTMAX-1"), SIGRTMAX - 1);
  EXPECT_EQ(parse_signal("RTMAX"), SIGRTMAX);
}

TEST(ParseSignalTest, RefusesEverythingElse) {
  for (const char* text : {"", "0", "-1", "65", "9x", " 9", "SIG", "SIGNOPE", "RTMIN+", "RTMIN-1",
                           "RTMIN+99", "RTMAX+1", "RTMIN+-1", "99999999999999"}) {
    EXPECT_EQ(parse_signal(text), 0) << text;
  }
}

TEST(ParseSignalTest, EveryNameIsParsedBack) {
  for (int signal = 1; signal < 32; ++signal) {
    EXPECT_EQ(parse_signal(signal_name(signal)), signal);
  }
  EXPECT_EQ(signal_name(SIGTERM), "SIGTERM");
}

TEST(SignalWatchTest, DeliversOnTheLoopAndRestoresTheMask) {
  EventLoop loop;
  std::vector<int> seen;
  {
    SignalWatch watch(loop, {SIGUSR1, SIGUSR2}, [&](int signal) { seen.push_back(signal); });
    ::raise(SIGUSR1);
    ::raise(SIGUSR2);
    loop.run_until([&] { return seen.size() == 2; }, std::chrono::seconds(10));
  }
  EXPECT_EQ(seen, (std::vector<int>{SIGUSR1, SIGUSR2}));
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGUSR1), 0);
}

TEST(Sha256Test, AgreesWithThePublishedVectors) {
  // FIPS 180-4, examples of the standard.
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  Sha256 digest;
  for (int i = 0; i < 1000; ++i) digest.update(std::string(1000, 'a'));
  EXPECT_EQ(digest.finish(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(LogTest, LevelsAreParsedAndFiltered) {
  EXPECT_EQ(parse_log_level("warn"), LogLevel::kWarn);
  EXPECT_EQ(parse_log_level("off"), LogLevel::kOff);
  EXPECT_FALSE(parse_log_level("WARN"));
  set_log_level(LogLevel::kError);
  EXPECT_FALSE(log_enabled(LogLevel::kWarn));
  EXPECT_TRUE(log_enabled(LogLevel::kError));
  set_log_level(LogLevel::kWarn);
}

TEST(Utf8Test, CharactersAreToldFromOtherBytes) {
  for (const char* text : {"a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(utf8_character_bytes(text), std::string_view(text).size()) << text;
    EXPECT_EQ(utf8_character_bytes(std::string(text) + "\x80"), std::string_view(text).size());
    EXPECT_TRUE(is_utf8(text));
  }
  for (const char* text :
       {"", "\x80", "\x9b", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xe2\x82", "\xe2\x82x",
        "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff"}) {
    EXPECT_EQ(utf8_character_bytes(text), 0U) << text;
    EXPECT_EQ(is_utf8(text), *text == '\0');
    EXPECT_FALSE(is_utf8(std::string("a") + text + "\xff"));
  }
}

TEST(Utf8Test, ControlsAreNotPrintable) {
  EXPECT_EQ(printable("caf\xc3\xa9\t\xe2\x82\xac\x7f"), "caf\xc3\xa9 \xe2\x82\xac ");
  EXPECT_EQ(printable("a\xc2\x9bmb\xc2\x80\xc2\x9f\xc2\xa0"), "a mb  \xc2\xa0");
  EXPECT_EQ(printable("a\x9bm\x80\x9f\xe9"), "a m  \xe9");
  // The end of a character without its beginning, and a beginning without its end.
  EXPECT_EQ(printable("\xe2\x9b|\x82"), "\xe2 | ");
}

TEST(RollbackTest, UndoThatThrowsDoesNotKeepTheOthersFromRunning) {
  std::vector<int> undone;
  {
    Rollback rollback;
    rollback.push([&] { undone.push_back(1); });
    rollback.push([] { throw 42; });
    rollback.push([] { throw std::runtime_error("no"); });
    rollback.push([&] { undone.push_back(2); });
  }
  EXPECT_EQ(undone, (std::vector<int>{2, 1}));
}

TEST(RollbackTest, UndoesNewestFirstUnlessCommitted) {
  std::string order;
  {
    Rollback rollback;
    rollback.push([&] { order += "1"; });
    rollback.push([&] { order += "2"; });
  }
  EXPECT_EQ(order, "21");
  {
    Rollback rollback;
    rollback.push([&] { order += "3"; });
    rollback.commit();
  }
  EXPECT_EQ(order, "21");
}

TEST(CancellationTest, StaysCancelledAndWakesAWaiter) {
  Cancellation cancellation;
  EXPECT_FALSE(cancellation.cancelled());
  EXPECT_NO_THROW(cancellation.check());
  std::thread([&] { cancellation.cancel(); }).join();
  EXPECT_TRUE(cancellation.cancelled());
  EXPECT_TRUE(cancellation.cancelled());
  EXPECT_THROW(cancellation.check(), Cancelled);
}

TEST(Base64EncodeTest, VectorsOfRfc4648) {
  EXPECT_EQ(encode_base64(""), "");
  EXPECT_EQ(encode_base64("f"), "Zg==");
  EXPECT_EQ(encode_base64("fo"), "Zm8=");
  EXPECT_EQ(encode_base64("foo"), "Zm9v");
  EXPECT_EQ(encode_base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(encode_base64("\xff\xfe"), "//4=");
}

}  // namespace
}  // namespace base
