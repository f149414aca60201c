// kill -9 of the command, the monitor and the VMM, each at every fault point (base/fault_point.h) at
// which it lives: the process that passes the point stops there, the victim dies, the rest goes on.
// Then the next command works, what was known is known, and nothing is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "base/fault_point.h"
#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::StartsWith;
using Clock = std::chrono::steady_clock;

// No event tells a test that a process of somebody else has stopped.
constexpr std::chrono::milliseconds kLookAgainAfter{5};
constexpr std::chrono::seconds kLimit{60};

enum class Phase { kRun, kRunAndRemove, kExec, kStop, kRemove };
enum class Victim { kCli, kMonitor, kVmm };
enum class After { kGone, kGoneOrExited, kExited, kLives };

struct Case {
  Phase phase;
  const char* point;
  Victim victim;
  After after;
  // The exit code the container had: it must not be lost.
  bool code_known = false;
};

void PrintTo(const Case& row, std::ostream* out) {
  *out << row.point;
}

const std::vector<Case>& matrix() {
  using enum Phase;
  using enum Victim;
  using enum After;
  static const std::vector<Case> rows{
      {kRun, "create.record", kCli, kGone},
      {kRun, "create.folder", kCli, kGone},
      {kRun, "create.disk", kCli, kGone},
      {kRun, "create.plan", kCli, kGone},
      {kRun, "start.monitor", kCli, kLives},
      {kRun, "start.monitor", kMonitor, kGoneOrExited},
      {kRun, "monitor.locked", kCli, kLives},
      {kRun, "monitor.locked", kMonitor, kGone},
      {kRun, "monitor.listening", kCli, kLives},
      {kRun, "monitor.listening", kMonitor, kExited},
      {kRun, "monitor.vmm", kCli, kLives},
      {kRun, "monitor.vmm", kMonitor, kExited},
      {kRun, "monitor.vmm", kVmm, kExited},
      {kRun, "monitor.agent", kCli, kLives},
      {kRun, "monitor.agent", kMonitor, kExited},
      {kRun, "monitor.agent", kVmm, kExited},
      {kRun, "monitor.guest", kCli, kLives},
      {kRun, "monitor.guest", kMonitor, kExited},
      {kRun, "monitor.guest", kVmm, kExited},
      {kRun, "monitor.asked", kCli, kLives},
      {kRun, "monitor.asked", kMonitor, kExited},
      {kRun, "monitor.asked", kVmm, kExited},
      {kRun, "monitor.started", kCli, kLives},
      {kRun, "monitor.started", kMonitor, kExited},
      {kRun, "monitor.started", kVmm, kExited},

      {kExec, "exec.connected", kCli, kLives},
      {kExec, "exec.connected", kMonitor, kExited},
      {kExec, "exec.connected", kVmm, kExited},
      {kExec, "monitor.exec", kCli, kLives},
      {kExec, "monitor.exec", kMonitor, kExited},
      {kExec, "monitor.exec", kVmm, kExited},

      {kStop, "stop.connected", kCli, kLives},
      {kStop, "stop.connected", kMonitor, kExited},
      {kStop, "stop.connected", kVmm, kExited},
      {kStop, "monitor.stop", kCli, kExited, true},
      {kStop, "monitor.stop", kMonitor, kExited},
      {kStop, "monitor.stop", kVmm, kExited},
      {kStop, "monitor.ended", kCli, kExited, true},
      {kStop, "monitor.ended", kMonitor, kExited, true},
      {kStop, "monitor.ended", kVmm, kExited, true},
      {kStop, "monitor.shutdown", kCli, kExited, true},
      {kStop, "monitor.shutdown", kMonitor, kExited, true},
      {kStop, "monitor.shutdown", kVmm, kExited, true},
      {kStop, "monitor.vmm-gone", kCli, kExited, true},
      {kStop, "monitor.vmm-gone", kMonitor, kExited, true},
      {kStop, "monitor.finished", kCli, kExited, true},
      {kStop, "monitor.finished", kMonitor, kExited, true},

      {kRemove, "destroy.marked", kCli, kGone},
      {kRemove, "destroy.run", kCli, kGone},
      {kRemove, "destroy.disks", kCli, kGone},
      {kRunAndRemove, "destroy.marked", kCli, kGone},
      {kRunAndRemove, "destroy.marked", kMonitor, kGone},
      {kRunAndRemove, "destroy.run", kCli, kGone},
      {kRunAndRemove, "destroy.run", kMonitor, kGone},
      {kRunAndRemove, "destroy.disks", kCli, kGone},
      {kRunAndRemove, "destroy.disks", kMonitor, kGone},
  };
  return rows;
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Processes whose environment holds `tag`.
class Tagged {
 public:
  explicit Tagged(std::string tag) : tag_(std::move(tag)) {}

  std::vector<int> named(const std::string& name) const {
    return find([&](const std::filesystem::path& proc) {
      return content_of(proc / "comm") == name + "\n";
    });
  }
  std::vector<int> stopped() const {
    return find([](const std::filesystem::path& proc) {
      const std::string stat = content_of(proc / "stat");
      const auto end = stat.rfind(") ");
      return end != std::string::npos && stat[end + 2] == 'T';
    });
  }
  int wait_for_stopped() const {
    for (const auto until = Clock::now() + kLimit; Clock::now() < until;) {
      if (const auto pids = stopped(); !pids.empty()) return pids.front();
      std::this_thread::sleep_for(kLookAgainAfter);
    }
    return 0;
  }
  bool wait_for_none(const std::string& name) const {
    for (const auto until = Clock::now() + kLimit; Clock::now() < until;) {
      if (named(name).empty()) return true;
      std::this_thread::sleep_for(kLookAgainAfter);
    }
    return false;
  }

 private:
  template <typename Matches>
  std::vector<int> find(Matches&& matches) const {
    std::vector<int> pids;
    std::error_code error;
    for (std::filesystem::directory_iterator it("/proc", error), end; !error && it != end;
         it.increment(error)) {
      const std::string name = it->path().filename();
      if (name.find_first_not_of("0123456789") != std::string::npos) continue;
      // A zombie has no environment.
      if (content_of(it->path() / "environ").find(tag_) != std::string::npos &&
          matches(it->path())) {
        pids.push_back(std::stoi(name));
      }
    }
    return pids;
  }

  std::string tag_;
};

void wait_until_ready(const std::string& name) {
  for (const auto until = Clock::now() + kLimit; Clock::now() < until;) {
    if (fcvm({"logs", name}).out.find("ready\n") != std::string::npos) return;
    std::this_thread::sleep_for(kLookAgainAfter);
  }
  FAIL() << "the container did not start";
}

// Brings a VM to `row`'s point; the command that does.
std::unique_ptr<Process> begin(const Case& row, const std::string& name, const std::string& fault) {
  const auto with_fault = [&](const std::vector<std::string>& args) {
    Command command = fcvm_command(args);
    command.env = {fault};
    return command;
  };
  const std::vector<std::string> container = Vm::sleeping_command("TERM", "exit 4");
  switch (row.phase) {
    case Phase::kRun:
      return std::make_unique<Process>(with_fault(run_args({"--name", name}, container)));
    case Phase::kRunAndRemove:
      return std::make_unique<Process>(with_fault(run_args({"--rm", "--name", name}, {"true"})));
    case Phase::kRemove:
      EXPECT_EQ(fcvm(run_args({"--name", name}, {"true"})).status, 0);
      return std::make_unique<Process>(with_fault({"rm", name}));
    case Phase::kExec:
    case Phase::kStop:
      break;
  }
  const Outcome started = run(with_fault(run_args({"-d", "--name", name}, container)));
  EXPECT_EQ(started.status, 0) << started;
  wait_until_ready(name);
  return std::make_unique<Process>(row.phase == Phase::kExec
                                       ? with_fault({"exec", name, "echo", "x"})
                                       : with_fault({"stop", name}));
}

void expect_after(const Case& row, const std::string& name) {
  if (row.after == After::kGone) {
    EXPECT_EQ(inspect(name, "/State/Status"), "");
    return;
  }
  if (row.after == After::kLives) {
    EXPECT_EQ(wait_for_status(name, "running"), "running");
    wait_until_ready(name);
    EXPECT_EQ(fcvm({"exec", name, "echo", "alive"}).out, "alive\n");
    EXPECT_EQ(fcvm({"stop", name}).status, 0);
    EXPECT_EQ(inspect(name, "/State/ExitCode"), "4");
    return;
  }
  if (row.after == After::kGoneOrExited && inspect(name, "/State/Status").empty()) return;
  EXPECT_EQ(wait_for_status(name, "exited"), "exited");
  if (row.code_known) {
    EXPECT_EQ(inspect(name, "/State/ExitCode"), "4");
  } else {
    EXPECT_NE(inspect(name, "/State/ExitCode"), "0");
    EXPECT_NE(inspect(name, "/State/Error"), "");
  }
}

void play(const Case& row) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const LeakCheck before;
  const std::string name = unique_name("kill");
  const Tagged tagged("FCVM_FAULT=" + std::string(row.point) + "=stop," + name + "=");
  {
    const RemoveAtEnd remove(name);
    const auto command =
        begin(row, name, "FCVM_FAULT=" + std::string(row.point) + "=stop," + name + "=none");
    const int stopped = tagged.wait_for_stopped();
    ASSERT_GT(stopped, 0) << "nothing stops at " << row.point << ": " << command->err();

    int victim = command->pid();
    if (row.victim != Victim::kCli) {
      const auto pids =
          tagged.named(row.victim == Victim::kMonitor ? "fcvm-monitor" : "qemu-system-x86");
      ASSERT_EQ(pids.size(), 1U);
      victim = pids.front();
    }
    ASSERT_EQ(::kill(victim, SIGKILL), 0);
    // A second process may come to the same point, as it cleans up behind the first.
    for (const auto until = Clock::now() + kLimit; Clock::now() < until;) {
      const auto pids = tagged.stopped();
      for (const int pid : pids) ::kill(pid, SIGCONT);
      const bool over = row.victim == Victim::kCli || command->ended();
      if (over && pids.empty()) break;
      std::this_thread::sleep_for(kLookAgainAfter);
    }
    // One that is attached to a container that goes on is not waited for.
    const Outcome outcome = command->wait();
    EXPECT_FALSE(outcome.timed_out);
    if (row.victim == Victim::kCli) {
      EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome;
    } else {
      // What ran in the VM cannot have ended well; to stop one that is dead may.
      if (row.phase == Phase::kRun || row.phase == Phase::kExec) {
        EXPECT_NE(outcome.status, 0) << outcome;
      }
      if (outcome.status != 0) {
        EXPECT_THAT(outcome.err, StartsWith("fcvm: ")) << outcome;
      }
    }
    if (row.victim != Victim::kCli || row.phase == Phase::kRunAndRemove) {
      EXPECT_TRUE(tagged.wait_for_none("fcvm-monitor"));
      EXPECT_TRUE(tagged.wait_for_none("qemu-system-x86"));
    }
    const Outcome next = fcvm({"ls", "-a"});
    EXPECT_EQ(next.status, 0) << next;
    expect_after(row, name);
    // Not by force: it must be in a state that can be removed.
    if (!inspect(name, "/State/Status").empty()) {
      const Outcome removed = fcvm({"rm", name});
      EXPECT_EQ(removed.status, 0) << removed;
    }
  }
  EXPECT_EQ(before.diff(), "");
}

std::string name_of(const testing::TestParamInfo<Case>& row) {
  static const char* const phases[] = {"Run", "RunAndRemove", "Exec", "Stop", "Remove"};
  static const char* const victims[] = {"Cli", "Monitor", "Vmm"};
  std::string name = std::string(phases[static_cast<int>(row.param.phase)]) + "_" +
                     row.param.point + "_" + victims[static_cast<int>(row.param.victim)];
  for (char& c : name) c = c == '.' || c == '-' ? '_' : c;
  return name;
}

// Some of it, for every test run.
std::vector<Case> sample() {
  std::vector<Case> rows;
  for (std::size_t i = 2; i < matrix().size(); i += 5) rows.push_back(matrix()[i]);
  return rows;
}

class KillMatrixTest : public testing::TestWithParam<Case> {};
TEST_P(KillMatrixTest, NextCommandWorksAndNothingIsLeft) {
  play(GetParam());
}
INSTANTIATE_TEST_SUITE_P(All, KillMatrixTest, testing::ValuesIn(matrix()), name_of);

class KillSampleTest : public testing::TestWithParam<Case> {};
TEST_P(KillSampleTest, NextCommandWorksAndNothingIsLeft) {
  play(GetParam());
}
INSTANTIATE_TEST_SUITE_P(Some, KillSampleTest, testing::ValuesIn(sample()), name_of);

}  // namespace
}  // namespace tests
