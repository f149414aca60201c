// `fcvm exec` in one long-lived VM.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class ExecTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    vm_ = std::make_unique<Vm>(std::vector<std::string>{
        "-e", "OF_CONTAINER=yes", "--workdir", "/var", "--hostname", "box", "--memory", "256m"});
  }
  static void TearDownTestSuite() { vm_.reset(); }
  void SetUp() override { ASSERT_NE(vm_, nullptr); }

  static Outcome exec(const std::vector<std::string>& command,
                      const std::vector<std::string>& flags = {}) {
    return vm_->exec(command, flags);
  }
  static Outcome shell(const std::string& script, const std::vector<std::string>& flags = {}) {
    return exec({"sh", "-c", script}, flags);
  }

  static std::unique_ptr<Vm> vm_;
};
std::unique_ptr<Vm> ExecTest::vm_;

TEST_F(ExecTest, StreamsAndStatusAreExact) {
  const Outcome outcome = shell("echo out; echo err >&2; exit 37");
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_EQ(outcome.status, 37);
}

TEST_F(ExecTest, StatusOfEveryKindIsExact) {
  for (const int status : {0, 1, 125, 126, 127, 200, 255}) {
    EXPECT_EQ(shell("exit " + std::to_string(status)).status, status);
  }
  EXPECT_EQ(shell("kill -KILL $$").status, 128 + SIGKILL);
  EXPECT_EQ(shell("kill -TERM $$").status, 128 + SIGTERM);
}

TEST_F(ExecTest, MissingAndUnusableCommandsEndWith127And126) {
  const Outcome missing = exec({"no-such-program"});
  EXPECT_EQ(missing.status, 127) << missing;
  EXPECT_THAT(missing.err, StartsWith("fcvm: "));
  const Outcome unusable = exec({"/etc/passwd"});
  EXPECT_EQ(unusable.status, 126) << unusable;
  EXPECT_THAT(unusable.err, StartsWith("fcvm: "));
}

TEST_F(ExecTest, ArgumentsArriveAsTheyAre) {
  const std::vector<std::string> odd = {"",   "a b", "*",  "$HOME",    "'",
                                        "\"", "-v",  "--", "\xc3\xa9", "line\nfeed"};
  std::vector<std::string> command = {"printf", "[%s]"};
  command.insert(command.end(), odd.begin(), odd.end());
  std::string wanted;
  for (const std::string& argument : odd) {
    wanted += "[" + argument + "]";
  }
  EXPECT_EQ(exec(command).out, wanted);
}

TEST_F(ExecTest, EightMiBThroughCatUnchanged) {
  std::string data;
  for (int i = 0; data.size() < (8U << 20); ++i) {
    data += "line " + std::to_string(i) + "\n";
  }
  const Outcome outcome = fcvm({"exec", "-i", vm_->name(), "cat"}, data);
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_TRUE(outcome.out == data) << outcome.out.size() << " of " << data.size() << " bytes";
}

TEST_F(ExecTest, WithoutInteractiveStdinIsEmpty) {
  EXPECT_EQ(fcvm({"exec", vm_->name(), "sh", "-c", "cat; echo end"}, "input\n").out, "end\n");
}

TEST_F(ExecTest, EnvironmentIsTheContainersAndWhatIsGiven) {
  EXPECT_EQ(shell("echo $OF_CONTAINER $HOSTNAME").out, "yes box\n");
  const TempDir dir;
  const std::string file = dir.write("env", "# comment\nFROM_FILE=a b\nBOTH=file\n");
  EXPECT_EQ(shell("echo $OF_CONTAINER,$NEW,$FROM_FILE,$BOTH",
                  {"-e", "NEW=x y", "-e", "BOTH=flag", "--env-file", file})
                .out,
            "yes,x y,a b,flag\n");
}

TEST_F(ExecTest, UserIsLookedUpInTheContainer) {
  EXPECT_EQ(shell("id").out, "uid=0(root) gid=0(root)\n");
  EXPECT_EQ(shell("id -u; id -g", {"-u", "app"}).out, "1000\n1000\n");
  EXPECT_EQ(shell("id -u; id -g; id -G", {"-u", "1000:33"}).out, "1000\n33\n33\n");
  EXPECT_THAT(shell("id -G", {"-u", "app"}).out, HasSubstr("44"));
  const Outcome unknown = shell("true", {"-u", "nobody-of-that-name"});
  EXPECT_NE(unknown.status, 0);
  EXPECT_THAT(unknown.err, HasSubstr("nobody-of-that-name"));
}

TEST_F(ExecTest, UserMadeInTheRunningContainerIsFound) {
  ASSERT_EQ(shell("echo late:x:1234:44::/tmp:/bin/sh >> /etc/passwd; echo band:x:55:late >> "
                  "/etc/group")
                .status,
            0);
  EXPECT_EQ(shell("id -u; id -g; id -G; echo $HOME", {"-u", "late"}).out,
            "1234\n44\n44 55\n/tmp\n");
  EXPECT_EQ(shell("id -g", {"-u", "app:band"}).out, "55\n");
  EXPECT_EQ(shell("echo $HOME", {"-u", "4321"}).out, "/\n");
}

TEST_F(ExecTest, WorkingDirectoryIsTheContainersOrTheGivenOne) {
  EXPECT_EQ(exec({"pwd"}).out, "/var\n");
  EXPECT_EQ(exec({"pwd"}, {"-w", "/etc"}).out, "/etc\n");
  EXPECT_NE(exec({"pwd"}, {"-w", "/no/such/directory"}).status, 0);
}

TEST_F(ExecTest, TtyIsGivenOnRequestOnly) {
  EXPECT_EQ(shell("test -t 1 && echo tty || echo none").out, "none\n");
  EXPECT_EQ(shell("test -t 1 && echo tty || echo none", {"-t"}).out, "tty\r\n");
}

TEST_F(ExecTest, DetachedReturnsAtOnceAndGoesOn) {
  const Outcome outcome = shell("sleep 0.3; echo done > /tmp/detached", {"-d"});
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_EQ(shell("until [ -s /tmp/detached ]; do usleep 20000; done; cat /tmp/detached").out,
            "done\n");
}

TEST_F(ExecTest, ManyAtOnceKeepTheirStreamsApart) {
  std::vector<Process> running;
  for (int i = 0; i < 8; ++i) {
    running.emplace_back(
        fcvm_command({"exec", vm_->name(), "sh", "-c",
                      "for n in 1 2 3 4; do echo out" + std::to_string(i) + "; echo err" +
                          std::to_string(i) + " >&2; done; exit " + std::to_string(10 + i)}));
  }
  for (int i = 0; i < 8; ++i) {
    const Outcome outcome = running[static_cast<std::size_t>(i)].wait();
    std::string out;
    std::string err;
    for (int n = 0; n < 4; ++n) {
      out += "out" + std::to_string(i) + "\n";
      err += "err" + std::to_string(i) + "\n";
    }
    EXPECT_EQ(outcome.out, out);
    EXPECT_EQ(outcome.err, err);
    EXPECT_EQ(outcome.status, 10 + i);
  }
}

TEST_F(ExecTest, StalledOneDoesNotHoldAnotherUp) {
  base::Pipe out = base::make_pipe();
  Command command = fcvm_command({"exec", vm_->name(), "yes"});
  command.fds = {{out.write.get(), 1}};
  Process stalled(std::move(command));
  out.write.reset();
  EXPECT_EQ(exec({"echo", "free"}).out, "free\n");
  EXPECT_EQ(exec({"head", "-c", "1000000", "/dev/zero"}).out.size(), 1'000'000U);
  EXPECT_FALSE(stalled.ended());
}

TEST_F(ExecTest, ProcessOfAKilledCommandIsEnded) {
  {
    Process command(fcvm_command({"exec", "-i", vm_->name(), "sh", "-c", "echo up; exec cat"}));
    ASSERT_TRUE(command.wait_for_out("up"));
    command.signal(SIGKILL);
    command.wait();
  }
  // Its stdin is at its end.
  EXPECT_EQ(shell("while pgrep -x cat > /dev/null; do usleep 20000; done; echo gone").out,
            "gone\n");
}

TEST_F(ExecTest, VmFlagRunsInTheGuestItself) {
  // The guest has no shell of its own; the container's is a static program.
  const std::string busybox = "/run/fcvm/rootfs/bin/busybox";
  EXPECT_EQ(exec({busybox, "cat", "/proc/1/cmdline"}, {"--vm"}).out, std::string("/init\0", 6));
  const Outcome outcome = exec({busybox, "sh", "-c", "echo out; echo err >&2; exit 9"}, {"--vm"});
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_EQ(outcome.status, 9);
  EXPECT_EQ(fcvm({"exec", "--vm", "-i", vm_->name(), busybox, "cat"}, "in\n").out, "in\n");
  EXPECT_EQ(exec({"no-such-program"}, {"--vm"}).status, 127);
  EXPECT_EQ(exec({"/etc/machine-id"}, {"--vm"}).status, 126);
}

TEST_F(ExecTest, ContainerSeesOnlyItsOwnProcesses) {
  EXPECT_EQ(exec({"cat", "/proc/1/comm"}).out, "sh\n");
}

TEST_F(ExecTest, PrivilegedHasEveryCapability) {
  const std::string usual = shell("grep CapEff /proc/self/status").out;
  const std::string all = shell("grep CapEff /proc/self/status", {"--privileged"}).out;
  EXPECT_THAT(usual, HasSubstr("800405fb"));
  EXPECT_THAT(all, HasSubstr("1ffffffffff"));
}

TEST_F(ExecTest, FileWrittenByOneIsReadByTheNext) {
  EXPECT_EQ(fcvm({"exec", "-i", vm_->name(), "tee", "/root/file"}, "kept\n").status, 0);
  EXPECT_EQ(exec({"cat", "/root/file"}).out, "kept\n");
}

}  // namespace
}  // namespace tests
