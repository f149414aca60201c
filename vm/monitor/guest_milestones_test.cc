#include "vm/monitor/guest_milestones.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vm {
namespace {

using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::map<std::string, std::int64_t> written(const GuestMilestones& milestones) {
  std::map<std::string, std::int64_t> timings;
  milestones.write(timings);
  return timings;
}

TEST(GuestMilestonesTest, QuickestMessageDatesTheOthers) {
  GuestMilestones milestones(1'000);
  // Both arrive together; the second was sent at once, the first had waited for the link.
  milestones.add("agent", 100, 5'000);
  milestones.add("link", 3'100, 5'000);
  EXPECT_THAT(written(milestones),
              UnorderedElementsAre(Pair("guest:agent", 2'000), Pair("guest:link", 5'000)));
}

TEST(GuestMilestonesTest, LiesStayBetweenStartAndArrival) {
  GuestMilestones milestones(1'000);
  milestones.add("past", INT64_MIN, 5'000);
  milestones.add("future", INT64_MAX, 6'000);
  for (const auto& [name, at] : written(milestones)) {
    EXPECT_GE(at, 1'000) << name;
    EXPECT_LE(at, 6'000) << name;
  }
}

TEST(GuestMilestonesTest, NamesAreFewShortAndPlain) {
  GuestMilestones milestones(0);
  milestones.add("\x1b[2J", 1, 1);
  milestones.add(std::string(49, 'x'), 1, 1);
  EXPECT_THAT(written(milestones), IsEmpty());
  for (int i = 0; i < 100; ++i) milestones.add(std::to_string(i), 1, 1);
  EXPECT_EQ(written(milestones).size(), 64U);
}

}  // namespace
}  // namespace vm
