#include "tests/support/process.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <string>

namespace tests {
namespace {

using std::chrono::milliseconds;

Command shell(const std::string& script) {
  Command command;
  command.argv = {"sh", "-c", script};
  command.deadline = std::chrono::seconds(20);
  return command;
}

TEST(ProcessTest, StreamsAndStatusAreCaughtApart) {
  const Outcome outcome = run(shell("echo out; echo err >&2; exit 37"));
  EXPECT_EQ(outcome.status, 37);
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_FALSE(outcome.timed_out);
}

TEST(ProcessTest, DeathBySignalIsTheShellsStatus) {
  EXPECT_EQ(run(shell("kill -9 $$")).status, 128 + SIGKILL);
}

TEST(ProcessTest, LongInputComesBackWhole) {
  Command command = shell("cat");
  command.input = std::string(5'000'000, 'x') + "end";
  EXPECT_EQ(run(command).out, *command.input);
}

TEST(ProcessTest, WithoutInputStdinIsEmpty) {
  EXPECT_EQ(run(shell("cat; echo done")).out, "done\n");
}

TEST(ProcessTest, OpenInputCarriesWhatIsWrittenLater) {
  Command command = shell("read a; echo got $a; read b; echo and $b; cat");
  command.keep_input_open = true;
  Process process(command);
  process.write("one\n");
  EXPECT_TRUE(process.wait_for_out("got one"));
  process.write("two\nrest");
  EXPECT_TRUE(process.wait_for_out("and two"));
  process.close_input();
  EXPECT_EQ(process.wait().out, "got one\nand two\nrest");
}

TEST(ProcessTest, DeadlineKillsTheProgram) {
  Command command = shell("echo begun; exec sleep 100");
  command.deadline = milliseconds(300);
  const Outcome outcome = run(command);
  EXPECT_TRUE(outcome.timed_out);
  EXPECT_EQ(outcome.status, 128 + SIGKILL);
  EXPECT_EQ(outcome.out, "begun\n");
}

TEST(ProcessTest, DescendantWithThePipeDoesNotHoldTheTestUp) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(run(shell("sleep 5 & exit 3")).status, 3);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(4));
}

TEST(ProcessTest, DestructionKillsTheProgram) {
  pid_t pid = 0;
  {
    const Process process(shell("exec sleep 100"));
    pid = process.pid();
    EXPECT_EQ(::kill(pid, 0), 0);
  }
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ProcessTest, ExtraEnvironmentWins) {
  ::setenv("FCVM_PROCESS_TEST", "old", 1);
  Command command = shell("echo $FCVM_PROCESS_TEST");
  command.env = {"FCVM_PROCESS_TEST=new"};
  EXPECT_EQ(run(command).out, "new\n");
  ::unsetenv("FCVM_PROCESS_TEST");
}

}  // namespace
}  // namespace tests
