#include "tests/support/terminal.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>

namespace tests {
namespace {

TEST(TerminalTest, ProgramSeesATerminalOfTheGivenSize) {
  Terminal terminal({"sh", "-c", "test -t 0 && test -t 1 && stty size"}, 31, 97);
  EXPECT_TRUE(terminal.shows("31 97\r\n"));
  EXPECT_EQ(terminal.wait(), 0);
}

TEST(TerminalTest, KeysReachTheProgramAndCtrlCSignalsIt) {
  Terminal terminal({"sh", "-c", "read line; echo got $line; exec sleep 100"}, 24, 80);
  terminal.type("word\n");
  EXPECT_TRUE(terminal.shows("got word"));
  terminal.type("\x03");
  EXPECT_EQ(terminal.wait(), 128 + SIGINT);
}

TEST(TerminalTest, ResizeReachesTheProgram) {
  Terminal terminal(
      {"sh", "-c", "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.1; done"}, 24,
      80);
  ASSERT_TRUE(terminal.shows("ready"));
  terminal.resize(50, 132);
  EXPECT_TRUE(terminal.shows("50 132"));
}

TEST(TerminalTest, TextThatNeverComesIsNotFound) {
  Terminal terminal({"sh", "-c", "echo one"}, 24, 80);
  EXPECT_FALSE(terminal.shows("two"));
  EXPECT_EQ(terminal.screen(), "one\r\n");
}

}  // namespace
}  // namespace tests
