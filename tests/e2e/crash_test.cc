// kill -9 of each process of a VM at three points of its life: the next command works, and once the
// VM is removed nothing is left of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <tuple>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

enum class Victim { kCli, kMonitor, kVmm };
enum class Point { kBooting, kRunning, kStopping };

// Says that it is up, then ticks; takes its time to stop.
const std::vector<std::string> kContainer = {"sh", "-c",
                                             "trap 'echo stopping; sleep 3; exit 5' TERM; echo up; "
                                             "while :; do echo tick; usleep 200000; done"};

// An attached `run`, brought to one of the points.
class RunningVm {
 public:
  explicit RunningVm(const std::vector<std::string>& flags = {}) : name_(unique_name("crash")) {
    std::vector<std::string> all = {"--name", name_};
    all.insert(all.end(), flags.begin(), flags.end());
    attached_ = std::make_unique<Process>(fcvm_command(run_args(all, kContainer)));
  }
  ~RunningVm() {
    attached_.reset();
    stop_.reset();
    fcvm({"rm", "-f", "-t", "0", name_});
  }

  // False when it does not get there.
  bool reach(Point point) {
    if (point == Point::kBooting) {
      // A VMM, and no container yet.
      while (pid("/State/Pid") <= 0 && !attached_->ended()) {
      }
      return inspect(name_, "/State/Status") == "starting";
    }
    if (!attached_->wait_for_out("up\n")) {
      return false;
    }
    if (point == Point::kStopping) {
      stop_ = std::make_unique<Process>(fcvm_command({"stop", "-t", "60", name_}));
      return attached_->wait_for_out("stopping\n");
    }
    return true;
  }

  int pid(const std::string& pointer) const {
    const std::string text = inspect(name_, pointer);
    return text.empty() ? 0 : std::stoi(text);
  }
  const std::string& name() const { return name_; }
  // Lets go of what this process holds of it.
  void forget() { attached_.reset(); }
  Process& attached() { return *attached_; }
  Process* stop() { return stop_.get(); }

 private:
  std::string name_;
  std::unique_ptr<Process> attached_;
  std::unique_ptr<Process> stop_;
};

class CrashTest : public testing::TestWithParam<std::tuple<Victim, Point>> {};

TEST_P(CrashTest, NextCommandWorksAndNothingIsLeft) {
  const auto [victim, point] = GetParam();
  const LeakCheck before;
  {
    RunningVm vm;
    ASSERT_TRUE(vm.reach(point)) << vm.attached().out() << vm.attached().err();
    const int monitor = vm.pid("/State/MonitorPid");
    const int vmm = vm.pid("/State/Pid");
    ASSERT_GT(monitor, 0);
    ASSERT_GT(vmm, 0);

    if (victim == Victim::kCli) {
      vm.attached().signal(SIGKILL);
      vm.attached().wait();
      if (vm.stop() != nullptr) {
        vm.stop()->signal(SIGKILL);
      }
    } else {
      ASSERT_EQ(::kill(victim == Victim::kMonitor ? monitor : vmm, SIGKILL), 0);
    }
    const Outcome next = fcvm({"ls", "-a"});
    EXPECT_EQ(next.status, 0) << next;
    EXPECT_THAT(next.out, HasSubstr(vm.name()));

    if (victim == Victim::kCli && point != Point::kStopping) {
      // The VM goes on without it.
      EXPECT_EQ(wait_for_status(vm.name(), "running"), "running");
      const std::string log = fcvm({"logs", vm.name()}).out;
      Process follow(fcvm_command({"logs", "-f", "--tail", "0", vm.name()}));
      EXPECT_TRUE(follow.wait_for_out("tick\ntick\n")) << log;
      EXPECT_EQ(fcvm({"exec", vm.name(), "echo", "alive"}).out, "alive\n");
      EXPECT_EQ(fcvm({"stop", vm.name()}).status, 0);
      EXPECT_EQ(inspect(vm.name(), "/State/ExitCode"), "5");
    } else if (victim == Victim::kCli) {
      // It was asked to stop and does.
      EXPECT_EQ(fcvm({"wait", vm.name()}).out, "5\n");
    } else {
      const Outcome attached = vm.attached().wait();
      EXPECT_FALSE(attached.timed_out);
      EXPECT_NE(attached.status, 0);
      EXPECT_THAT(attached.err, StartsWith("fcvm: "));
      EXPECT_TRUE(wait_for_end_of(vmm));
      EXPECT_TRUE(wait_for_end_of(monitor));
      EXPECT_EQ(wait_for_status(vm.name(), "exited"), "exited");
      EXPECT_NE(inspect(vm.name(), "/State/ExitCode"), "0");
      EXPECT_NE(inspect(vm.name(), "/State/Error"), "");
      if (vm.stop() != nullptr) {
        EXPECT_FALSE(vm.stop()->wait().timed_out);
      }
      EXPECT_EQ(fcvm({"exec", vm.name(), "true"}).status, 125);
      EXPECT_EQ(fcvm({"stop", vm.name()}).status, 0);
    }
    const Outcome removed = fcvm({"rm", vm.name()});
    EXPECT_EQ(removed.status, 0) << removed;
  }
  EXPECT_EQ(before.diff(), "");
}

std::string name_of(const testing::TestParamInfo<std::tuple<Victim, Point>>& row) {
  const char* const victims[] = {"Cli", "Monitor", "Vmm"};
  const char* const points[] = {"Booting", "Running", "Stopping"};
  return std::string(victims[static_cast<int>(std::get<0>(row.param))]) + "While" +
         points[static_cast<int>(std::get<1>(row.param))];
}

INSTANTIATE_TEST_SUITE_P(
    Kill, CrashTest,
    testing::Combine(testing::Values(Victim::kCli, Victim::kMonitor, Victim::kVmm),
                     testing::Values(Point::kBooting, Point::kRunning, Point::kStopping)),
    name_of);

class CrashWithRmTest : public testing::TestWithParam<Victim> {};

TEST_P(CrashWithRmTest, NextCommandRemovesTheVm) {
  const LeakCheck before;
  {
    RunningVm vm({"--rm"});
    ASSERT_TRUE(vm.reach(Point::kRunning));
    const int victim = vm.pid(GetParam() == Victim::kMonitor ? "/State/MonitorPid" : "/State/Pid");
    ASSERT_GT(victim, 0);
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    const Outcome attached = vm.attached().wait();
    EXPECT_FALSE(attached.timed_out);
    EXPECT_NE(attached.status, 0);
    const Outcome next = fcvm({"ls", "-a"});
    EXPECT_EQ(next.status, 0) << next;
    EXPECT_THAT(next.out, Not(HasSubstr(vm.name())));
    vm.forget();
    EXPECT_EQ(before.diff(), "");
  }
  EXPECT_EQ(run_container({}, {"echo", "next"}).out, "next\n");
}

std::string victim_name(const testing::TestParamInfo<Victim>& row) {
  return row.param == Victim::kMonitor ? "Monitor" : "Vmm";
}

INSTANTIATE_TEST_SUITE_P(Kill, CrashWithRmTest, testing::Values(Victim::kMonitor, Victim::kVmm),
                         victim_name);

TEST(CrashOfTheCommandTest, CommandKilledWhileItsVmRunsLeavesRmInForce) {
  const LeakCheck before;
  {
    RunningVm vm({"--rm"});
    ASSERT_TRUE(vm.reach(Point::kRunning));
    vm.attached().signal(SIGKILL);
    vm.attached().wait();
    EXPECT_EQ(fcvm({"exec", vm.name(), "echo", "alive"}).out, "alive\n");
    EXPECT_EQ(fcvm({"stop", "-t", "60", vm.name()}).status, 0);
    EXPECT_THAT(fcvm({"ls", "-a"}).out, Not(HasSubstr(vm.name())));
  }
  EXPECT_EQ(before.diff(), "");
}

}  // namespace
}  // namespace tests
