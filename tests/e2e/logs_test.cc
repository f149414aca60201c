// `fcvm logs`.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::EndsWith;
using testing::MatchesRegex;

// A container that says three things, then one more for each SIGUSR1.
class LogsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    vm_ = std::make_unique<Vm>(
        std::vector<std::string>{},
        std::vector<std::string>{
            "sh", "-c",
            "trap 'n=$((n + 1)); echo usr$n' USR1; trap 'exit 0' TERM; "
            "echo one; usleep 200000; echo two >&2; usleep 200000; echo three; "
            "while :; do sleep 1000 & wait $!; done"});
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (fcvm({"logs", vm_->name()}).out != "one\nthree\n" &&
           std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  }
  static void TearDownTestSuite() { vm_.reset(); }
  void SetUp() override { ASSERT_NE(vm_, nullptr); }

  static std::unique_ptr<Vm> vm_;
};
std::unique_ptr<Vm> LogsTest::vm_;

TEST_F(LogsTest, StreamsStayApart) {
  const Outcome outcome = fcvm({"logs", vm_->name()});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "one\nthree\n");
  EXPECT_EQ(outcome.err, "two\n");
}

TEST_F(LogsTest, TailCountsLinesOfBothStreams) {
  const Outcome outcome = fcvm({"logs", "--tail", "2", vm_->name()});
  EXPECT_EQ(outcome.out, "three\n");
  EXPECT_EQ(outcome.err, "two\n");
  EXPECT_EQ(fcvm({"logs", "--tail", "0", vm_->name()}).out, "");
  EXPECT_EQ(fcvm({"logs", "--tail", "100", vm_->name()}).out, "one\nthree\n");
}

TEST_F(LogsTest, TimestampsAreRfc3339) {
  const Outcome outcome = fcvm({"logs", "-t", "--tail", "1", vm_->name()});
  EXPECT_THAT(outcome.out, MatchesRegex("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
                                        "(\\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2}) three\n"));
}

TEST_F(LogsTest, SinceLeavesOutWhatIsOlder) {
  EXPECT_EQ(fcvm({"logs", "--since", "10m", vm_->name()}).out, "one\nthree\n");
  const auto later = std::time(nullptr) + 60;
  EXPECT_EQ(fcvm({"logs", "--since", std::to_string(later), vm_->name()}).out, "");
  EXPECT_EQ(fcvm({"logs", "--since", "2020-01-01T00:00:00Z", vm_->name()}).out, "one\nthree\n");
  const Outcome malformed = fcvm({"logs", "--since", "yesteryear", vm_->name()});
  EXPECT_EQ(malformed.status, 125);
}

// The last test: it ends the container.
TEST_F(LogsTest, ZFollowShowsWhatComesAndEndsWithTheContainer) {
  Process follow(fcvm_command({"logs", "-f", vm_->name()}));
  ASSERT_TRUE(follow.wait_for_out("three\n"));
  EXPECT_EQ(fcvm({"kill", "-s", "USR1", vm_->name()}).status, 0);
  EXPECT_TRUE(follow.wait_for_out("usr1\n")) << follow.out();
  EXPECT_EQ(fcvm({"kill", "--signal", "SIGUSR1", vm_->name()}).status, 0);
  EXPECT_TRUE(follow.wait_for_out("usr2\n")) << follow.out();
  EXPECT_EQ(fcvm({"stop", vm_->name()}).status, 0);
  const Outcome outcome = follow.wait();
  EXPECT_FALSE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_EQ(outcome.out, "one\nthree\nusr1\nusr2\n");
  // What an ended container said stays readable.
  EXPECT_THAT(fcvm({"logs", vm_->name()}).out, EndsWith("usr2\n"));
  EXPECT_EQ(fcvm({"logs", "-f", vm_->name()}).status, 0);
}

}  // namespace
}  // namespace tests
