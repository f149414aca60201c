#include "hypervisor/qemu/qmp_client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/fd.h"

namespace hypervisor::qemu {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

constexpr milliseconds kPatience{10000};
constexpr milliseconds kLong{60000};
constexpr char kGreeting[] =
    R"({"QMP":{"version":{"qemu":{"micro":22,"minor":2,"major":7},"package":""},"capabilities":[]}})"
    "\r\n";

// The test plays the VMM on the other end of the socket.
class QmpClientTest : public ::testing::Test {
 protected:
  QmpClientTest() {
    QmpClient::Handler handler;
    handler.on_ready = [this](const std::string& version) { version_ = version; };
    handler.on_event = [this](const std::string& name, const nlohmann::json&) {
      events_.push_back(name);
      if (destroy_on_event_) client_.reset();
    };
    handler.on_down = [this](const std::string& why) { down_ = why; };
    auto pair = base::make_socket_pair(SOCK_STREAM);
    peer_ = std::move(pair.second);
    base::set_nonblocking(peer_);
    client_ = std::make_unique<QmpClient>(loop_, std::move(pair.first), std::move(handler));
  }

  void say(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::send(peer_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (n > 0) {
        text.remove_prefix(static_cast<std::size_t>(n));
      } else {
        if (errno != EAGAIN) return;
        loop_.run_once(milliseconds(100));
        if (down_) return;
      }
    }
  }

  // The next command the client sends.
  nlohmann::json hear() {
    const bool heard = loop_.run_until(
        [this] {
          std::array<char, 4096> buffer;
          const ssize_t n = ::read(peer_.get(), buffer.data(), buffer.size());
          if (n > 0) heard_.append(buffer.data(), static_cast<std::size_t>(n));
          return heard_.find('\n') != std::string::npos;
        },
        kPatience);
    if (!heard) return nullptr;
    const auto end = heard_.find('\n');
    auto command = nlohmann::json::parse(heard_.substr(0, end));
    heard_.erase(0, end + 1);
    return command;
  }

  void answer(const nlohmann::json& command,
              const nlohmann::json& value = nlohmann::json::object()) {
    say(nlohmann::json({{"return", value}, {"id", command["id"]}}).dump() + "\r\n");
  }

  void negotiate() {
    say(kGreeting);
    const auto command = hear();
    ASSERT_EQ(command["execute"], "qmp_capabilities");
    answer(command);
    ASSERT_TRUE(wait([this] { return version_.has_value(); }));
  }

  bool wait(const std::function<bool()>& done) { return loop_.run_until(done, kPatience); }

  // Remembers how it was answered: "" for success.
  QmpClient::Reply remember(std::optional<std::string>& outcome) {
    return [&outcome](const base::Error* error, const nlohmann::json&) {
      EXPECT_FALSE(outcome) << "answered twice";
      outcome = error != nullptr ? error->what() : "";
    };
  }

  base::EventLoop loop_;
  base::Fd peer_;
  std::unique_ptr<QmpClient> client_;
  std::optional<std::string> version_;
  std::optional<std::string> down_;
  std::vector<std::string> events_;
  bool destroy_on_event_ = false;
  std::string heard_;
};

TEST_F(QmpClientTest, NegotiatesAndReportsTheVersion) {
  negotiate();
  EXPECT_EQ(version_, "7.2.22");
  EXPECT_TRUE(client_->ready());
}

TEST_F(QmpClientTest, CommandGivenBeforeTheGreetingWaitsForIt) {
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, kLong, remember(outcome));
  loop_.run_once(milliseconds(50));
  std::array<char, 16> buffer;
  EXPECT_EQ(::read(peer_.get(), buffer.data(), buffer.size()), -1) << "spoke before the greeting";
  negotiate();
  const auto command = hear();
  EXPECT_EQ(command["execute"], "stop");
  answer(command);
  EXPECT_TRUE(wait([&] { return outcome.has_value(); }));
  EXPECT_EQ(*outcome, "");
}

TEST_F(QmpClientTest, RepliesInAnyOrderReachTheirCommands) {
  negotiate();
  std::string first;
  std::string second;
  client_->execute("one", nullptr, kLong,
                   [&](const base::Error*, const nlohmann::json& v) { first = v["is"]; });
  client_->execute("two", {{"x", 1}}, kLong,
                   [&](const base::Error*, const nlohmann::json& v) { second = v["is"]; });
  const auto one = hear();
  const auto two = hear();
  EXPECT_EQ(two["arguments"]["x"], 1);
  answer(two, {{"is", "two"}});
  answer(one, {{"is", "one"}});
  EXPECT_TRUE(wait([&] { return !first.empty() && !second.empty(); }));
  EXPECT_EQ(first, "one");
  EXPECT_EQ(second, "two");
}

TEST_F(QmpClientTest, RefusalNamesCommandAndReason) {
  negotiate();
  std::optional<std::string> outcome;
  client_->execute("balloon", nullptr, kLong, remember(outcome));
  const auto command = hear();
  say(nlohmann::json({{"id", command["id"]},
                      {"error", {{"class", "DeviceNotActive"}, {"desc", "No balloon device"}}}})
          .dump() +
      "\n");
  EXPECT_TRUE(wait([&] { return outcome.has_value(); }));
  EXPECT_EQ(*outcome, "the VMM refused balloon: No balloon device");
  EXPECT_FALSE(client_->down());
}

TEST_F(QmpClientTest, SilentPeerCostsTheCommandItsDeadline) {
  negotiate();
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, milliseconds(30), remember(outcome));
  const auto command = hear();
  EXPECT_TRUE(wait([&] { return outcome.has_value(); }));
  EXPECT_THAT(*outcome, HasSubstr("timed out"));
  // The late answer is nobody's and harms nothing.
  answer(command);
  std::optional<std::string> next;
  client_->execute("cont", nullptr, kLong, remember(next));
  answer(hear());
  EXPECT_TRUE(wait([&] { return next.has_value(); }));
  EXPECT_EQ(*next, "");
}

TEST_F(QmpClientTest, PeerThatNeverGreetsCostsTheCommandItsDeadline) {
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, milliseconds(30), remember(outcome));
  EXPECT_TRUE(wait([&] { return outcome.has_value(); }));
  EXPECT_THAT(*outcome, HasSubstr("timed out"));
}

TEST_F(QmpClientTest, PeerThatDoesNotReadCostsEachCommandItsDeadline) {
  negotiate();
  const std::string big(200'000, 'x');
  int failed = 0;
  for (int i = 0; i < 10; ++i) {
    client_->execute(
        "fill", big, milliseconds(50),
        [&](const base::Error* error, const nlohmann::json&) { failed += error != nullptr; });
  }
  EXPECT_TRUE(wait([&] { return failed == 10; }));
  EXPECT_FALSE(client_->down());
}

TEST_F(QmpClientTest, MoreCommandsThanFitAreRefusedAtOnce) {
  negotiate();
  int busy = 0;
  int others = 0;
  for (std::size_t i = 0; i < QmpClient::kMaxPending + 5; ++i) {
    client_->execute("stop", nullptr, kLong, [&](const base::Error* error, const nlohmann::json&) {
      (error != nullptr && error->errnum() == EBUSY ? busy : others) += 1;
    });
  }
  EXPECT_EQ(busy, 0) << "answered inside the call";
  EXPECT_TRUE(wait([&] { return busy == 5; }));
  EXPECT_EQ(others, 0);
}

TEST_F(QmpClientTest, GarbageTakesTheConnectionDownAndFailsWhatWaits) {
  negotiate();
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, kLong, remember(outcome));
  say("\x01\x02 garbage\n");
  EXPECT_TRUE(wait([&] { return down_.has_value(); }));
  EXPECT_THAT(*down_, HasSubstr("control protocol"));
  ASSERT_TRUE(outcome);
  EXPECT_NE(*outcome, "");
}

TEST_F(QmpClientTest, EndlessLineTakesTheConnectionDown) {
  negotiate();
  say(std::string(kMaxQmpLineBytes + 70'000, 'x'));
  EXPECT_TRUE(wait([&] { return down_.has_value(); }));
}

TEST_F(QmpClientTest, FloodOfInventedRepliesTakesTheConnectionDown) {
  negotiate();
  for (int i = 0; i <= QmpClient::kMaxStrayReplies; ++i) say("{\"return\":{},\"id\":4000000}\n");
  EXPECT_TRUE(wait([&] { return down_.has_value(); }));
  EXPECT_THAT(*down_, HasSubstr("nobody asked for"));
}

TEST_F(QmpClientTest, SecondGreetingTakesTheConnectionDown) {
  negotiate();
  say(kGreeting);
  EXPECT_TRUE(wait([&] { return down_.has_value(); }));
}

TEST_F(QmpClientTest, FloodOfEventsDoesNotDelayACommand) {
  negotiate();
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, kLong, remember(outcome));
  const auto command = hear();
  for (int i = 0; i < 20'000; ++i) say("{\"event\":\"NOISE\",\"data\":{\"n\":1}}\n");
  answer(command);
  EXPECT_TRUE(wait([&] { return outcome.has_value(); }));
  EXPECT_EQ(*outcome, "");
  EXPECT_EQ(events_.size(), 20'000U);
}

TEST_F(QmpClientTest, PeerThatGoesIsReportedOnce) {
  negotiate();
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, kLong, remember(outcome));
  peer_.reset();
  EXPECT_TRUE(wait([&] { return down_.has_value(); }));
  EXPECT_TRUE(outcome);
  std::optional<std::string> later;
  client_->execute("cont", nullptr, kLong, remember(later));
  EXPECT_TRUE(wait([&] { return later.has_value(); }));
  EXPECT_NE(*later, "");
}

TEST_F(QmpClientTest, ClientDestroyedInACallbackCallsNothingMore) {
  negotiate();
  destroy_on_event_ = true;
  std::optional<std::string> outcome;
  client_->execute("stop", nullptr, kLong, remember(outcome));
  say("{\"event\":\"A\"}\n{\"event\":\"B\"}\n");
  EXPECT_TRUE(wait([&] { return client_ == nullptr; }));
  loop_.run_once(milliseconds(20));
  EXPECT_EQ(events_, std::vector<std::string>{"A"});
  EXPECT_FALSE(outcome);
  EXPECT_FALSE(down_);
}

TEST_F(QmpClientTest, DrainReadsLastWordsWithoutTheLoop) {
  negotiate();
  say("{\"event\":\"SHUTDOWN\",\"data\":{\"reason\":\"guest-shutdown\"}}\n");
  peer_.reset();
  client_->drain();
  EXPECT_EQ(events_, std::vector<std::string>{"SHUTDOWN"});
  EXPECT_TRUE(down_);
}

}  // namespace
}  // namespace hypervisor::qemu
