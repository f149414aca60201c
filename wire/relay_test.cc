#include <gtest/gtest.h>

#include "wire/detail/test_link.h"
#include "wire/pump.h"

namespace wire {
namespace {

using test::LinkPair;
using test::Recorder;

// The monitor between a guest and a command: streams of `commands` are relayed to `guests`.
struct RelayPair {
  // `left.host` is the command, `left.guest` and `right.host` are the monitor's ends.
  base::EventLoop& loop;
  LinkPair left;
  LinkPair right;
  std::unique_ptr<StreamRelay> relay;
  std::string a_to_b;
  std::string b_to_a;
  int done = 0;

  RelayPair() : loop(left.loop) {
    Link::Handler handler;
    handler.on_stream = [this](std::unique_ptr<Stream> a, const std::string& service,
                               const std::string& argument) {
      auto b = right.host->open(service, argument);
      relay = std::make_unique<StreamRelay>(
          std::move(a), std::move(b),
          StreamRelay::Options{[this](std::string_view data) { a_to_b += data; },
                               [this](std::string_view data) { b_to_a += data; },
                               [this] { ++done; }});
    };
    left.guest->set_handler(std::move(handler));
  }
  template <typename F>
  bool until(F&& condition) {
    const auto end = std::chrono::steady_clock::now() + test::kPatience;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > end) return false;
      left.loop.run_once(std::chrono::milliseconds(1));
      right.loop.run_once(std::chrono::milliseconds(1));
    }
    return true;
  }
  Recorder& guest() { return *right.at_guest.arrivals.at(0).recorder; }
  bool has_guest() const { return !right.at_guest.arrivals.empty(); }
};

TEST(StreamRelayTest, BothDirectionsAndTheirEndsPassThrough) {
  RelayPair pair;
  Recorder command(pair.left.host->open("stdio", "p"));
  command.stream->write("to guest");
  command.stream->shutdown_write();
  ASSERT_TRUE(pair.until([&] { return pair.has_guest() && pair.guest().eof; }));
  EXPECT_EQ(pair.guest().data, "to guest");
  EXPECT_EQ(pair.right.at_guest.arrivals[0].argument, "p");
  EXPECT_EQ(pair.done, 0);
  pair.guest().stream->write("back");
  pair.guest().stream->shutdown_write();
  ASSERT_TRUE(pair.until([&] { return command.eof && pair.done == 1; }));
  EXPECT_EQ(command.data, "back");
  EXPECT_EQ(pair.a_to_b, "to guest");
  EXPECT_EQ(pair.b_to_a, "back");
  EXPECT_EQ(command.reset_calls + pair.guest().reset_calls, 0);
}

TEST(StreamRelayTest, SlowConsumerBoundsWhatTheRelayTakes) {
  RelayPair pair;
  pair.right.at_guest.consuming = false;
  Recorder command(pair.left.host->open("stdio", "p"));
  std::size_t sent = 0;
  const auto push = [&] {
    const std::size_t bytes = command.stream->writable();
    command.stream->write(std::string(bytes, 'x'));
    sent += bytes;
    return false;
  };
  for (int i = 0; i < 300; ++i) {
    push();
    pair.left.loop.run_once(std::chrono::milliseconds(0));
    pair.right.loop.run_once(std::chrono::milliseconds(0));
  }
  EXPECT_EQ(pair.guest().data.size(), kStreamWindowBytes);
  EXPECT_LE(sent, 3 * kStreamWindowBytes) << "the relay takes what its consumer does not";

  Recorder& guest = pair.guest();
  guest.consuming = true;
  guest.stream->consume(kStreamWindowBytes);
  const std::size_t expected = sent;
  ASSERT_TRUE(pair.until([&] { return guest.data.size() >= expected; }));
}

TEST(StreamRelayTest, ResetPassesThrough) {
  for (const bool by_command : {true, false}) {
    RelayPair pair;
    Recorder command(pair.left.host->open("stdio", "p"));
    ASSERT_TRUE(pair.until([&] { return pair.has_guest(); }));
    (by_command ? command : pair.guest()).stream->reset(ResetReason::kProtocol);
    Recorder& other = by_command ? pair.guest() : command;
    ASSERT_TRUE(pair.until([&] { return other.reset_calls == 1 && pair.done == 1; }));
    EXPECT_EQ(other.reason, ResetReason::kProtocol);
  }
}

TEST(StreamRelayTest, LostLinkIsACancellationForTheOtherSide) {
  RelayPair pair;
  Recorder command(pair.left.host->open("stdio", "p"));
  ASSERT_TRUE(pair.until([&] { return pair.has_guest(); }));
  pair.guest().stream->write("last words");
  pair.right.guest.reset();
  ASSERT_TRUE(pair.until([&] { return command.reset_calls == 1; }));
  EXPECT_EQ(command.data, "last words");
  EXPECT_EQ(command.reason, ResetReason::kCancelled);
}

TEST(StreamRelayTest, OutputThatEndedBeforeTheResetReachesASlowConsumerWhole) {
  RelayPair pair;
  Recorder command(pair.left.host->open("stdio", "p"));
  command.consuming = false;
  ASSERT_TRUE(pair.until([&] { return pair.has_guest(); }));
  // Twice what the command's window takes: the second half waits in the relay.
  std::size_t sent = 0;
  ASSERT_TRUE(pair.until([&] {
    const std::size_t bytes =
        std::min(pair.guest().stream->writable(), 2 * kStreamWindowBytes - sent);
    pair.guest().stream->write(std::string(bytes, 'o'));
    sent += bytes;
    return sent == 2 * kStreamWindowBytes;
  }));
  pair.guest().stream->shutdown_write();
  pair.guest().stream.reset();
  for (int i = 0; i < 100; ++i) {
    pair.left.loop.run_once(std::chrono::milliseconds(0));
    pair.right.loop.run_once(std::chrono::milliseconds(0));
  }
  EXPECT_EQ(command.data.size(), kStreamWindowBytes);
  EXPECT_EQ(command.reset_calls, 0);
  command.consuming = true;
  command.stream->consume(kStreamWindowBytes);
  ASSERT_TRUE(pair.until([&] { return command.eof; }));
  EXPECT_EQ(command.data.size(), 2 * kStreamWindowBytes);
  ASSERT_TRUE(pair.until([&] { return pair.done == 1; }));
}

TEST(StreamRelayTest, DestroyingTheRelayResetsBothSides) {
  RelayPair pair;
  Recorder command(pair.left.host->open("stdio", "p"));
  ASSERT_TRUE(pair.until([&] { return pair.has_guest(); }));
  pair.relay.reset();
  ASSERT_TRUE(
      pair.until([&] { return command.reset_calls == 1 && pair.guest().reset_calls == 1; }));
  EXPECT_EQ(pair.done, 0);
}

}  // namespace
}  // namespace wire
