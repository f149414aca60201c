#include "hypervisor/qemu/proc_stats.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace hypervisor::qemu {
namespace {

using std::chrono::microseconds;

constexpr char kTail[] = " S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 1 0 100\n";

TEST(ProcStatsTest, UserAndSystemTimeAreAdded) {
  EXPECT_EQ(parse_cpu_time(std::string("42 (qemu)") + kTail, 100), microseconds(2'000'000));
}

TEST(ProcStatsTest, NameWithParenthesesAndSpacesIsSkipped) {
  EXPECT_EQ(parse_cpu_time(std::string("42 (a) b) 9 9 (x)") + kTail, 100), microseconds(2'000'000));
}

TEST(ProcStatsTest, TruncatedLineHasNoTime) {
  EXPECT_EQ(parse_cpu_time("42 (qemu) S 1 2 3", 100), std::nullopt);
  EXPECT_EQ(parse_cpu_time("", 100), std::nullopt);
}

TEST(ProcStatsTest, FieldThatIsNoNumberHasNoTime) {
  EXPECT_EQ(parse_cpu_time("42 (q) S 1 2 3 4 5 6 7 8 9 10 15x 50 0", 100), std::nullopt);
}

TEST(ProcStatsTest, BusyThreadOfThisProcessHasTime) {
  while (thread_cpu_time(::getpid(), ::gettid()) < microseconds(20'000)) {
  }
  EXPECT_GE(process_cpu_time(::getpid()), thread_cpu_time(::getpid(), ::gettid()));
}

TEST(ProcStatsTest, ThreadThatDoesNotExistHasNone) {
  EXPECT_EQ(thread_cpu_time(::getpid(), 0), microseconds(0));
}

}  // namespace
}  // namespace hypervisor::qemu
