// The verbs that look into a running VM or hold it still.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>
#include <thread>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::HasSubstr;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(VerbsPauseTest, PausedVmStandsStillAndGoesOnWithTheRightTime) {
  const Vm vm({}, Vm::sleeping_command("USR1", "echo signalled > /sig"));
  Outcome outcome = fcvm({"pause", vm.name()});
  EXPECT_EQ(outcome.out, vm.name() + "\n") << outcome;
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "paused");
  EXPECT_EQ(inspect(vm.name(), "/State/Paused"), "true");
  EXPECT_THAT(fcvm({"ls"}).out, HasSubstr("Paused"));
  EXPECT_EQ(fcvm({"ls", "-q", "--filter", "status=paused"}).out, vm.id().substr(0, 12) + "\n");

  outcome = fcvm({"pause", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("it is paused already"));
  outcome = vm.exec({"true"});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("is paused, not running"));
  outcome = fcvm({"stop", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("it is paused"));
  EXPECT_EQ(fcvm({"kill", "-s", "USR1", vm.name()}).status, 0);

  // The guest's clock has to fall behind far enough to be seen.
  std::this_thread::sleep_for(std::chrono::seconds(3));
  outcome = fcvm({"unpause", vm.name()});
  EXPECT_EQ(outcome.out, vm.name() + "\n") << outcome;
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "running");
  const std::int64_t before = now_s();
  const std::int64_t inside = std::stoll(vm.exec({"date", "+%s"}).out);
  EXPECT_GE(inside, before - 1);
  EXPECT_LE(inside, now_s() + 1);
  EXPECT_EQ(vm.exec({"sh", "-c", "until [ -e /sig ]; do sleep 0.1; done; cat /sig"}).out,
            "signalled\n");
  outcome = fcvm({"unpause", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("it is running, not paused"));

  EXPECT_EQ(fcvm({"pause", "--all"}).out, vm.id() + "\n");
  EXPECT_EQ(fcvm({"unpause", "--all"}).out, vm.id() + "\n");
  EXPECT_EQ(fcvm({"pause", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"kill", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"wait", vm.name()}).out, "137\n");
  outcome = fcvm({"pause", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("is exited, not running"));
}

TEST(VerbsPauseTest, PausedVmIsRemovedByForceOnly) {
  const Vm vm;
  ASSERT_EQ(fcvm({"pause", vm.name()}).status, 0);
  const Outcome outcome = fcvm({"rm", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("is paused"));
  EXPECT_EQ(fcvm({"rm", "-f", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"pause", vm.name()}).status, 125);
}

}  // namespace
}  // namespace tests
