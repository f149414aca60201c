// Many VMs: one after another, and at once.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

constexpr int kOneAfterAnother = 30;
constexpr int kAtOnce = 6;

TEST(SoakTest, ThirtyOneAfterAnotherAllSucceedAndLeaveNothing) {
  const LeakCheck before;
  for (int i = 0; i < kOneAfterAnother; ++i) {
    const Outcome outcome = run_container({}, {"true"});
    EXPECT_EQ(outcome.status, 0) << "number " << i << ": " << outcome;
    EXPECT_EQ(outcome.out + outcome.err, "") << "number " << i;
  }
  EXPECT_EQ(before.diff(), "");
}

TEST(SoakTest, SixAtOnceAllSucceedAndLeaveNothing) {
  const LeakCheck before;
  std::vector<Process> running;
  for (int i = 0; i < kAtOnce; ++i) {
    running.emplace_back(fcvm_command(run_args(
        {"--rm"}, {"sh", "-c", "echo " + std::to_string(i) + "; exit " + std::to_string(i)})));
  }
  for (int i = 0; i < kAtOnce; ++i) {
    const Outcome outcome = running[static_cast<std::size_t>(i)].wait();
    EXPECT_EQ(outcome.status, i) << outcome;
    EXPECT_EQ(outcome.out, std::to_string(i) + "\n");
    EXPECT_EQ(outcome.err, "");
  }
  running.clear();
  EXPECT_EQ(before.diff(), "");
}

}  // namespace
}  // namespace tests
