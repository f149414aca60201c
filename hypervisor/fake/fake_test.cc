// The promises every implementation of the interface makes, held against the fake. The QEMU machine
// is held to them in qemu/machine_vm_test.cc.
#include "hypervisor/fake/fake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"
#include "wire/mux_link.h"

namespace hypervisor::fake {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Reason = MachineExit::Reason;

constexpr milliseconds kPatience{10000};
constexpr milliseconds kLong{60000};

class FakeHypervisorTest : public ::testing::Test {
 protected:
  FakeHypervisorTest() {
    config_.vm_id = "a1";
    config_.kernel = "/vmlinux";
    config_.mem_mib = 512;
  }

  void start() {
    MachineEvents events;
    events.on_exit = [this](const MachineExit& exit) {
      EXPECT_FALSE(exit_) << "ended twice";
      exit_ = exit;
    };
    machine_ = hypervisor_.start(loop_, config_, events);
  }

  // Gives the link a handler and lets the test's guest say hello.
  void boot() {
    link_ = machine_->take_guest_link();
    wire::Link::Handler handler;
    handler.on_down = [this](std::string) { link_down_ = true; };
    link_->set_handler(std::move(handler));
    wire::MuxOptions options;
    options.side = wire::Side::kGuest;
    guest_ = wire::make_mux_link(loop_, hypervisor_.machine()->take_guest_end(), options);
    guest_->set_handler({});
    ASSERT_TRUE(wait([this] { return machine_->state() == MachineState::kRunning; }));
  }

  Completion remember(std::optional<std::string>& outcome) {
    return [&outcome](base::Result<void> result) {
      EXPECT_FALSE(outcome) << "completed twice";
      outcome = result.ok() ? "" : result.error().what();
    };
  }

  bool wait(const std::function<bool()>& done) { return loop_.run_until(done, kPatience); }

  base::EventLoop loop_;
  FakeHypervisor hypervisor_;
  MachineConfig config_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::Link> guest_;
  std::optional<MachineExit> exit_;
  bool link_down_ = false;
};

TEST_F(FakeHypervisorTest, MachineRunsOnceTheGuestSaysHello) {
  start();
  EXPECT_EQ(machine_->state(), MachineState::kStarting);
  boot();
  EXPECT_EQ(machine_->state(), MachineState::kRunning);
}

TEST_F(FakeHypervisorTest, GuestThatNeverSaysHelloIsABootTimeout) {
  config_.boot_deadline = milliseconds(20);
  start();
  const auto link = machine_->take_guest_link();
  link->set_handler({});
  hypervisor_.machine()->print_on_console("Loading...\n");
  EXPECT_TRUE(wait([this] { return exit_.has_value(); }));
  EXPECT_EQ(exit_->reason, Reason::kBootTimeout);
  EXPECT_THAT(exit_->detail, HasSubstr("20 ms"));
  EXPECT_EQ(exit_->console_tail, "Loading...\n");
  EXPECT_EQ(machine_->state(), MachineState::kEnded);
}

TEST_F(FakeHypervisorTest, GuestThatSaidHelloIsLeftAloneByTheWatchdog) {
  config_.boot_deadline = milliseconds(200);
  start();
  boot();
  EXPECT_FALSE(loop_.run_until([this] { return exit_.has_value(); }, milliseconds(300)));
}

TEST_F(FakeHypervisorTest, PauseAndResumeCompleteFromTheLoop) {
  start();
  boot();
  std::optional<std::string> paused;
  machine_->pause(kLong, remember(paused));
  EXPECT_FALSE(paused);
  EXPECT_TRUE(wait([&] { return paused.has_value(); }));
  EXPECT_EQ(machine_->state(), MachineState::kPaused);
  std::optional<std::string> resumed;
  machine_->resume(kLong, remember(resumed));
  EXPECT_TRUE(wait([&] { return resumed.has_value(); }));
  EXPECT_EQ(machine_->state(), MachineState::kRunning);
  EXPECT_THAT(hypervisor_.machine()->operations(), ElementsAre("pause", "resume"));
}

TEST_F(FakeHypervisorTest, UnansweredOperationEndsAtItsDeadline) {
  start();
  hypervisor_.machine()->answer = FakeMachine::Answer::kNever;
  std::optional<std::string> outcome;
  machine_->pause(milliseconds(20), remember(outcome));
  EXPECT_TRUE(wait([&] { return outcome.has_value(); }));
  EXPECT_THAT(*outcome, HasSubstr("timed out"));
  EXPECT_NE(machine_->state(), MachineState::kPaused);
}

TEST_F(FakeHypervisorTest, OperationUnderWayFailsBeforeTheExitIsTold) {
  start();
  hypervisor_.machine()->answer = FakeMachine::Answer::kNever;
  std::optional<std::string> outcome;
  machine_->pause(kLong, [&](base::Result<void> result) {
    EXPECT_FALSE(exit_);
    outcome = result.ok() ? "" : result.error().what();
  });
  hypervisor_.machine()->end(Reason::kVmmFailed, "killed by signal 9");
  EXPECT_FALSE(exit_);
  EXPECT_TRUE(wait([this] { return exit_.has_value(); }));
  EXPECT_THAT(outcome.value_or(""), HasSubstr("ended"));
  EXPECT_EQ(exit_->detail, "killed by signal 9");
}

TEST_F(FakeHypervisorTest, BalloonTargetShowsInTheStatistics) {
  start();
  std::optional<std::string> outcome;
  machine_->set_balloon_target(200, kLong, remember(outcome));
  std::optional<MachineStats> stats;
  machine_->stats(kLong, [&](base::Result<MachineStats> result) { stats = result.value(); });
  EXPECT_TRUE(wait([&] { return stats.has_value(); }));
  EXPECT_EQ(outcome, "");
  EXPECT_EQ(stats->balloon_bytes, 312ULL << 20);
  EXPECT_EQ(stats->guest_mem_bytes, 512ULL << 20);
}

TEST_F(FakeHypervisorTest, KillAndQuitAreToldApart) {
  start();
  machine_->kill();
  EXPECT_TRUE(wait([this] { return exit_.has_value(); }));
  EXPECT_EQ(exit_->reason, Reason::kKilled);
  exit_.reset();
  start();
  machine_->quit(kLong);
  EXPECT_TRUE(wait([this] { return exit_.has_value(); }));
  EXPECT_EQ(exit_->reason, Reason::kQuit);
}

TEST_F(FakeHypervisorTest, QuitThatIsNotAnsweredKillsAtItsDeadline) {
  start();
  hypervisor_.machine()->answer = FakeMachine::Answer::kNever;
  machine_->quit(milliseconds(20));
  EXPECT_FALSE(exit_);
  EXPECT_TRUE(wait([this] { return exit_.has_value(); }));
  EXPECT_EQ(exit_->reason, Reason::kQuit);
}

TEST_F(FakeHypervisorTest, DestroyedMachineCallsNothingBack) {
  start();
  std::optional<std::string> outcome;
  machine_->pause(kLong, remember(outcome));
  machine_->kill();
  machine_.reset();
  EXPECT_EQ(hypervisor_.machine(), nullptr);
  loop_.run_once(milliseconds(20));
  loop_.run_once(milliseconds(0));
  EXPECT_FALSE(outcome);
  EXPECT_FALSE(exit_);
}

TEST_F(FakeHypervisorTest, MachineMayBeDestroyedByItsExitCallback) {
  MachineEvents events;
  bool told = false;
  std::unique_ptr<Machine> machine;
  events.on_exit = [&](const MachineExit&) {
    machine.reset();
    told = true;
  };
  machine = hypervisor_.start(loop_, config_, events);
  machine->kill();
  EXPECT_TRUE(wait([&] { return told; }));
  EXPECT_EQ(machine, nullptr);
}

TEST_F(FakeHypervisorTest, LinkMayOutliveItsMachine) {
  start();
  boot();
  machine_.reset();
  guest_.reset();
  EXPECT_TRUE(wait([this] { return link_down_; }));
}

TEST_F(FakeHypervisorTest, MalformedConfigurationIsRefused) {
  config_.vcpus = 0;
  EXPECT_THROW(start(), base::Error);
}

TEST_F(FakeHypervisorTest, ScriptedStartFailureIsThrown) {
  hypervisor_.start_error = "no such accelerator";
  EXPECT_THROW(start(), base::Error);
}

TEST_F(FakeHypervisorTest, ConsoleGoesToTheNamedFile) {
  const tests::TempDir dir;
  config_.console_log = (dir / "console.log").string();
  start();
  hypervisor_.machine()->print_on_console("hello\n");
  EXPECT_EQ(base::read_file(config_.console_log), "hello\n");
  EXPECT_EQ(machine_->console_tail(), "hello\n");
}

}  // namespace
}  // namespace hypervisor::fake
