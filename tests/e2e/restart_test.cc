// VMs that live more than once: create, start, restart, rename, and restart policies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::HasSubstr;

// Counts its lives in a file on the VM's disk, says which one this is, and sleeps or ends.
std::vector<std::string> counting_command(const std::string& then) {
  return {"sh", "-c", "echo x >> /lives; echo life $(wc -l < /lives); trap 'exit 0' TERM; " + then};
}
constexpr const char* kSleep = "while :; do sleep 1 & wait $!; done";

std::string made(const std::vector<std::string>& flags, const std::vector<std::string>& command) {
  std::vector<std::string> args = run_args(flags, command);
  args.erase(args.begin());  // "podman" may be left out
  args.front() = "create";
  return fcvm(args).out;
}

// Waits until the log holds `text`; false when it does not in time.
bool logged(const std::string& name, const std::string& text) {
  return Process(fcvm_command({"logs", "-f", name})).wait_for_out(text, std::chrono::seconds(60));
}

class RestartTest : public testing::Test {
 protected:
  RestartTest() : name_(unique_name("restart")), remove_(name_) {}
  Outcome start(const std::vector<std::string>& flags, const std::vector<std::string>& command) {
    std::vector<std::string> all{"-d", "--name", name_};
    all.insert(all.end(), flags.begin(), flags.end());
    return fcvm(run_args(all, command));
  }

  LeakCheck before_;
  std::string name_;
  RemoveAtEnd remove_;
};

TEST_F(RestartTest, CreatedVmIsStartedAndKeepsItsDisk) {
  const std::string id = made({"--name", name_}, counting_command("exit 4"));
  ASSERT_EQ(id.size(), 65U) << id;
  EXPECT_EQ(inspect(name_, "/State/Status"), "created");
  EXPECT_EQ(fcvm({"ls"}).out.find(name_), std::string::npos);
  Outcome outcome = fcvm({"start", "-a", name_});
  EXPECT_EQ(outcome.status, 4) << outcome;
  EXPECT_EQ(outcome.out, "life 1\n");
  outcome = fcvm({"start", "-a", name_});
  EXPECT_EQ(outcome.status, 4) << outcome;
  EXPECT_EQ(outcome.out, "life 2\n");
  EXPECT_EQ(fcvm({"start", name_}).out, name_ + "\n");
  EXPECT_EQ(fcvm({"wait", name_}).out, "4\n");
  EXPECT_EQ(fcvm({"logs", name_}).out, "life 1\nlife 2\nlife 3\n");
}

TEST_F(RestartTest, RunningVmIsStoppedAndStartedAgain) {
  ASSERT_EQ(start({}, counting_command(kSleep)).status, 0);
  ASSERT_TRUE(logged(name_, "life 1\n"));
  EXPECT_EQ(fcvm({"start", name_}).out, "") << "it runs already";
  const std::string vmm = inspect(name_, "/State/Pid");
  const Outcome outcome = fcvm({"restart", "-t", "30", name_});
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_EQ(outcome.out, name_ + "\n");
  EXPECT_EQ(inspect(name_, "/State/Status"), "running");
  EXPECT_NE(inspect(name_, "/State/Pid"), vmm);
  EXPECT_EQ(inspect(name_, "/RestartCount"), "0");
  EXPECT_TRUE(logged(name_, "life 2\n"));
  EXPECT_EQ(fcvm({"exec", name_, "wc", "-l", "/lives"}).out, "2 /lives\n");
  EXPECT_EQ(fcvm({"stop", name_}).status, 0);
  EXPECT_EQ(fcvm({"restart", name_}).status, 0) << "an exited one is started";
  EXPECT_TRUE(logged(name_, "life 3\n"));
}

TEST_F(RestartTest, VmToBeRemovedIsRestartedNotRemoved) {
  ASSERT_EQ(start({"--rm"}, counting_command(kSleep)).status, 0);
  ASSERT_TRUE(logged(name_, "life 1\n"));
  const Outcome outcome = fcvm({"restart", name_});
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_TRUE(logged(name_, "life 2\n"));
  EXPECT_EQ(fcvm({"stop", name_}).status, 0);
  EXPECT_EQ(fcvm({"inspect", name_}).status, 125);
  EXPECT_EQ(before_.diff(), "");
}

TEST_F(RestartTest, OnFailureRestartsAsOftenAsItMay) {
  // The attached command ends with the first status, as podman's does.
  const Outcome outcome = fcvm(
      run_args({"--name", name_, "--restart", "on-failure:2"}, {"sh", "-c", "echo life; exit 3"}));
  EXPECT_EQ(outcome.status, 3) << outcome;
  EXPECT_EQ(outcome.out, "life\n");
  EXPECT_EQ(wait_for_status(name_, "exited"), "exited");
  EXPECT_EQ(fcvm({"logs", name_}).out, "life\nlife\nlife\n");
  EXPECT_EQ(fcvm({"inspect", "-f",
                  "{{.RestartCount}} {{.HostConfig.RestartPolicy.Name}} "
                  "{{.HostConfig.RestartPolicy.MaximumRetryCount}} {{.State.ExitCode}}",
                  name_})
                .out,
            "2 on-failure 2 3\n");
}

TEST_F(RestartTest, OnFailureLeavesSuccessAlone) {
  ASSERT_EQ(start({"--restart", "on-failure"}, counting_command("exit 0")).status, 0);
  EXPECT_EQ(wait_for_status(name_, "exited"), "exited");
  EXPECT_EQ(inspect(name_, "/RestartCount"), "0");
  EXPECT_EQ(fcvm({"logs", name_}).out, "life 1\n");
}

TEST_F(RestartTest, AlwaysRestartsUntilAStop) {
  ASSERT_EQ(start({"--restart", "always"},
                  counting_command("[ $(wc -l < /lives) -gt 2 ] || exit 0; " + std::string(kSleep)))
                .status,
            0);
  ASSERT_TRUE(logged(name_, "life 3\n"));
  // A VMM that was killed ends a life like any other, but for what its guest had not written yet.
  ASSERT_EQ(fcvm({"exec", name_, "sync"}).status, 0);
  const int vmm = std::stoi(inspect(name_, "/State/Pid"));
  ASSERT_EQ(::kill(vmm, SIGKILL), 0);
  EXPECT_TRUE(logged(name_, "life 4\n"));
  EXPECT_EQ(inspect(name_, "/RestartCount"), "3");
  EXPECT_EQ(fcvm({"stop", name_}).status, 0);
  EXPECT_EQ(inspect(name_, "/State/Status"), "exited");
  EXPECT_EQ(inspect(name_, "/State/ExitCode"), "0");
}

TEST_F(RestartTest, StopEndsTheWaitForTheNextLife) {
  // Each life is short, so that the delay grows; a stop finds it in one sooner or later.
  ASSERT_EQ(start({"--restart", "always"}, {"sh", "-c", "exit 7"}).status, 0);
  while (std::stoi(inspect(name_, "/RestartCount")) < 3) {
    ASSERT_NE(wait_for_status(name_, "running"), "exited");
    fcvm({"wait", name_});
  }
  EXPECT_EQ(fcvm({"stop", "-t", "0", name_}).status, 0);
  EXPECT_EQ(inspect(name_, "/State/Status"), "exited");
  EXPECT_EQ(fcvm({"rm", name_}).status, 0);
  EXPECT_EQ(before_.diff(), "");
}

TEST_F(RestartTest, RenameTakesANameThatIsFree) {
  const Vm running;
  ASSERT_NE(made({"--name", name_}, {"true"}), "");
  const std::string other = unique_name("renamed");
  const RemoveAtEnd remove(other);
  EXPECT_EQ(fcvm({"rename", name_, other}).status, 0);
  EXPECT_EQ(fcvm({"inspect", name_}).status, 125);
  EXPECT_EQ(inspect(other, "/State/Status"), "created");
  EXPECT_EQ(fcvm({"rename", other, other}).status, 0);

  const Outcome taken = fcvm({"rename", other, running.name()});
  EXPECT_EQ(taken.status, 125);
  EXPECT_THAT(taken.err, HasSubstr("'" + running.name() + "' is taken"));
  EXPECT_EQ(fcvm({"rename", other, "bad name"}).status, 125);
  EXPECT_EQ(fcvm({"rename", "no-such-vm", "x"}).status, 125);

  // A running one too, and its monitor does not write the old name back.
  const std::string third = unique_name("renamed");
  const RemoveAtEnd remove_third(third);
  EXPECT_EQ(fcvm({"rename", running.name(), third}).status, 0);
  EXPECT_EQ(fcvm({"exec", third, "true"}).status, 0);
  EXPECT_EQ(fcvm({"stop", third}).status, 0);
  EXPECT_EQ(inspect(third, "/State/Status"), "exited");
}

TEST_F(RestartTest, MistakesAreNamed) {
  EXPECT_EQ(fcvm({"restart", "no-such-vm"}).status, 125);
  EXPECT_EQ(fcvm({"restart"}).status, 125);
  EXPECT_EQ(fcvm({"start"}).status, 125);
  const Outcome two = fcvm({"start", "-a", "one", "two"});
  EXPECT_EQ(two.status, 125);
  EXPECT_THAT(two.err, HasSubstr("only one"));
  const Outcome conflict = fcvm(run_args({"--rm", "--restart", "always"}, {"true"}));
  EXPECT_EQ(conflict.status, 125);
  EXPECT_THAT(conflict.err, HasSubstr("conflicts with --restart"));
}

}  // namespace
}  // namespace tests
