// Commands that meet, and commands that are interrupted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_image.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr std::size_t kMiB = 1 << 20;

// A moment in the making of an image disk: something new stands in its directory.
class ImageBuildBegins {
 public:
  ImageBuildBegins() : inotify_(::inotify_init1(IN_CLOEXEC)) {
    ::inotify_add_watch(inotify_.get(), (data_dir() / "images").c_str(), IN_CREATE | IN_MOVED_TO);
  }
  bool wait() const { return base::wait_for(inotify_.get(), POLLIN, std::chrono::seconds(30)); }

 private:
  base::Fd inotify_;
};

TEST(ConcurrencyTest, InterruptWhileTheImageIsMadeEndsWith130AndLeavesNothing) {
  const TempDir dir;
  const ImageDisksRestored restore;
  const std::string image = make_test_image(dir.path(), unique_name("image"), 100 * kMiB);
  const LeakCheck before;
  {
    const ImageBuildBegins begins;
    Process process(fcvm_command(run_args({"--rm"}, {"true"}, image)));
    ASSERT_TRUE(begins.wait()) << process.err();
    process.signal(SIGINT);
    const Outcome outcome = process.wait();
    EXPECT_EQ(outcome.status, 128 + SIGINT) << outcome;
    EXPECT_EQ(restore.count(), 0U) << "it was over before the interrupt";
  }
  EXPECT_EQ(before.diff(), "");
  // The same image can be made afterwards.
  EXPECT_EQ(fcvm(run_args({"--rm"}, {"echo", "made"}, image)).status, 127);
  EXPECT_EQ(fcvm(run_args({"--rm"}, {"sh", "-c", "echo made"}, image)).out, "made\n");
  EXPECT_EQ(restore.count(), 1U);
}

TEST(ConcurrencyTest, KillWhileTheImageIsMadeIsClearedUpByTheNextCommand) {
  const TempDir dir;
  const ImageDisksRestored restore;
  const std::string image = make_test_image(dir.path(), unique_name("image"), 100 * kMiB);
  const LeakCheck before;
  {
    const ImageBuildBegins begins;
    Process process(fcvm_command(run_args({"--rm"}, {"true"}, image)));
    ASSERT_TRUE(begins.wait()) << process.err();
    process.signal(SIGKILL);
    process.wait();
  }
  EXPECT_EQ(fcvm(run_args({"--rm"}, {"sh", "-c", "echo made"}, image)).out, "made\n");
  EXPECT_EQ(restore.count(), 1U);
  EXPECT_EQ(before.diff(), "");
}

TEST(ConcurrencyTest, InterruptDuringBootEndsWith130AndLeavesNothing) {
  const LeakCheck before;
  {
    const std::string name = unique_name("boot");
    Process process(fcvm_command(run_args({"--rm", "--name", name}, {"sleep", "1000"})));
    ASSERT_EQ(wait_for_status(name, "starting"), "starting");
    process.signal(SIGINT);
    const Outcome outcome = process.wait();
    EXPECT_EQ(outcome.status, 128 + SIGINT) << outcome;
    EXPECT_EQ(outcome.out, "");
  }
  EXPECT_EQ(before.diff(), "");
}

TEST(ConcurrencyTest, TwoRunsOfANewImageShareOneDisk) {
  const TempDir dir;
  const ImageDisksRestored restore;
  const std::string image = make_test_image(dir.path(), unique_name("image"), 20 * kMiB);
  Process one(fcvm_command(run_args({"--rm"}, {"sh", "-c", "echo one"}, image)));
  Process two(fcvm_command(run_args({"--rm"}, {"sh", "-c", "echo two"}, image)));
  const Outcome first = one.wait();
  const Outcome second = two.wait();
  EXPECT_EQ(first.out, "one\n") << first;
  EXPECT_EQ(second.out, "two\n") << second;
  EXPECT_EQ(restore.count(), 1U);
}

TEST(ConcurrencyTest, OfTwoRunsWithOneNameExactlyOneWins) {
  const LeakCheck before;
  const std::string name = unique_name("contested");
  {
    const RemoveAtEnd remove(name);
    std::vector<Process> runs;
    for (int i = 0; i < 4; ++i) {
      runs.emplace_back(fcvm_command(run_args({"-d", "--name", name}, Vm::sleeping_command())));
    }
    std::vector<int> statuses;
    for (Process& run : runs) {
      const Outcome outcome = run.wait();
      statuses.push_back(outcome.status);
      if (outcome.status != 0) {
        EXPECT_THAT(outcome.err, HasSubstr(name));
        EXPECT_THAT(outcome.err, HasSubstr("taken"));
      }
    }
    EXPECT_EQ(std::count(statuses.begin(), statuses.end(), 0), 1);
    EXPECT_EQ(std::count(statuses.begin(), statuses.end(), 125), 3);
    EXPECT_EQ(fcvm({"exec", name, "echo", "alive"}).out, "alive\n");
  }
  EXPECT_EQ(before.diff(), "");
}

TEST(ConcurrencyTest, RemoveStopAndKillOfOneVmAtOnceAgree) {
  const LeakCheck before;
  {
    const Vm vm;
    std::vector<Process> commands;
    commands.emplace_back(fcvm_command({"stop", vm.name()}));
    commands.emplace_back(fcvm_command({"kill", vm.name()}));
    commands.emplace_back(fcvm_command({"rm", "-f", vm.name()}));
    commands.emplace_back(fcvm_command({"rm", "-f", vm.name()}));
    for (Process& command : commands) {
      const Outcome outcome = command.wait();
      EXPECT_FALSE(outcome.timed_out) << outcome;
      EXPECT_TRUE(outcome.status == 0 || outcome.status == 125) << outcome;
    }
    EXPECT_THAT(fcvm({"ls", "-a"}).out, Not(HasSubstr(vm.name())));
  }
  EXPECT_EQ(before.diff(), "");
}

}  // namespace
}  // namespace tests
