#include "cli/progress.h"

#include <gtest/gtest.h>

#include "base/fd.h"

namespace cli {
namespace {

using namespace std::chrono_literals;

image::Progress at(const std::string& stage, std::uint64_t done = 0, std::uint64_t total = 0) {
  return {stage, done, total,
          total == 0 ? image::ProgressUnit::kNone : image::ProgressUnit::kBytes};
}

std::string shown(std::chrono::milliseconds quiet, bool terminal,
                  const std::vector<image::Progress>& reports) {
  base::Pipe pipe = base::make_pipe();
  {
    ProgressDisplay display(quiet, pipe.write.get(), terminal, 80);
    for (const auto& report : reports) display.show(report);
  }
  pipe.write.reset();
  return base::read_to_end(pipe.read, 1 << 16);
}

TEST(ProgressTest, QuickJobsLeaveNoTrace) {
  EXPECT_EQ(shown(1h, true, {at("unpacking", 1, 2)}), "");
  EXPECT_EQ(shown(1h, false, {at("unpacking", 1, 2)}), "");
}

TEST(ProgressTest, WithoutATerminalEachStageIsALine) {
  EXPECT_EQ(shown(0ms, false, {at("one", 1, 2), at("one", 2, 2), at("two")}), "one\ntwo\n");
}

TEST(ProgressTest, OnATerminalTheBarIsRedrawnAndRemoved) {
  const std::string text = shown(0ms, true, {at("one", 1 << 20, 2 << 20)});
  EXPECT_EQ(text, "\r\x1b[Kone  [############------------] 50%  1.0/2.0 MiB\r\x1b[K");
}

TEST(ProgressTest, LineNeverReachesTheLastColumn) {
  EXPECT_EQ(progress_line(at(std::string(200, 'x'), 1, 2), 40).size(), 39U);
}

TEST(ProgressTest, MoreThanAllIsAll) {
  EXPECT_NE(progress_line(at("x", 9, 3), 200).find("100%"), std::string::npos);
}

}  // namespace
}  // namespace cli
