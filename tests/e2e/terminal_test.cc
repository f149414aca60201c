// `-it` through a pseudo-terminal: what a person at a keyboard gets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "tests/support/fcvm.h"
#include "tests/support/terminal.h"

namespace tests {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kCtrlC = "\x03";
constexpr const char* kCtrlD = "\x04";

bool is_raw(const termios& settings) {
  return (settings.c_lflag & (ICANON | ECHO | ISIG)) == 0;
}

// Field by field: the structure has padding.
bool same_settings(const termios& a, const termios& b) {
  return a.c_iflag == b.c_iflag && a.c_oflag == b.c_oflag && a.c_cflag == b.c_cflag &&
         a.c_lflag == b.c_lflag && std::memcmp(a.c_cc, b.c_cc, sizeof(a.c_cc)) == 0;
}

TEST(TerminalTest, RunIsARealTerminal) {
  Terminal terminal(fcvm_argv(run_args({"--rm", "-it"}, {"sh"})), 31, 97);
  const termios before = terminal.settings();
  ASSERT_TRUE(terminal.shows("# ")) << terminal.screen();
  EXPECT_TRUE(is_raw(terminal.settings()));

  // What is typed is echoed, so what is looked for must not be in it.
  terminal.type("echo size=$(stty size) $(tty)\n");
  EXPECT_TRUE(terminal.shows("size=31 97 /dev/", seconds(20))) << terminal.screen();

  terminal.resize(50, 132);
  terminal.type("while [ \"$(stty size)\" != '50 132' ]; do :; done; echo now$((50 + 0))\n");
  EXPECT_TRUE(terminal.shows("now50", seconds(20))) << terminal.screen();

  terminal.type(
      "sh -c 'trap \"echo resized=\\$(stty size); exit\" WINCH; echo trap$((1 + 1)); "
      "while :; do sleep 0.1; done'\n");
  EXPECT_TRUE(terminal.shows("trap2", seconds(20)));
  terminal.resize(24, 80);
  EXPECT_TRUE(terminal.shows("resized=24 80", seconds(20))) << terminal.screen();

  // Ctrl-C means a signal only once the shell has left its line editor, and ends a command only once
  // that has the signal's default action again, which ash's own children get late.
  terminal.type("sh -c 'echo on$((1 + 1)); exec sleep 1000'; echo never\n");
  EXPECT_TRUE(terminal.shows("on2", seconds(20)));
  terminal.type(kCtrlC);
  terminal.type("echo status=$?\n");
  EXPECT_TRUE(terminal.shows("status=130", seconds(20))) << terminal.screen();

  terminal.type("echo done$((1 + 1)); (exit 7)\n");
  EXPECT_TRUE(terminal.shows("done2", seconds(20)));
  EXPECT_TRUE(terminal.shows("# ", seconds(20)));
  terminal.type(kCtrlD);
  EXPECT_EQ(terminal.wait(), 7) << terminal.screen();
  EXPECT_TRUE(same_settings(terminal.settings(), before));
  EXPECT_THAT(terminal.screen(), Not(HasSubstr("\r\r\n")));
}

TEST(TerminalTest, SettingsAreRestoredWhenTheCommandCannotRun) {
  Terminal terminal(fcvm_argv(run_args({"--rm", "-it"}, {"no-such-program"})), 24, 80);
  const termios before = terminal.settings();
  EXPECT_EQ(terminal.wait(), 127) << terminal.screen();
  EXPECT_TRUE(same_settings(terminal.settings(), before));
}

TEST(TerminalTest, WithoutTtyNothingIsAddedAndTheTerminalStaysAsItWas) {
  base::Pipe out = base::make_pipe();
  Terminal terminal(fcvm_argv(run_args({"--rm", "-i"}, {"sh", "-c",
                                                        "test -t 0 || echo no tty; read a; "
                                                        "printf 'got %s\\nlast' \"$a\""})),
                    24, 80, out.write.get());
  out.write.reset();
  const termios before = terminal.settings();
  terminal.type("word\n");
  EXPECT_TRUE(terminal.shows("word\r\n"));  // echoed by the host's terminal, which stays cooked
  EXPECT_EQ(terminal.wait(), 0);
  EXPECT_EQ(base::read_to_end(out.read, 4096), "no tty\ngot word\nlast");
  EXPECT_TRUE(same_settings(terminal.settings(), before));
}

TEST(TerminalTest, TtyWithItsOutputInAPipeIsStillATty) {
  const Outcome outcome =
      run_container({"-t"}, {"sh", "-c", "test -t 1 && echo tty; echo err >&2; exit 3"});
  EXPECT_EQ(outcome.status, 3) << outcome;
  // A terminal has one stream, and its line discipline is the guest's.
  EXPECT_EQ(outcome.out, "tty\r\nerr\r\n");
}

TEST(TerminalTest, DetachKeysLeaveTheContainerRunning) {
  const std::string name = unique_name("detach");
  const RemoveAtEnd remove(name);
  Terminal terminal(fcvm_argv(run_args({"-it", "--name", name}, {"sh"})), 24, 80);
  const termios before = terminal.settings();
  ASSERT_TRUE(terminal.shows("# ")) << terminal.screen();
  terminal.type("\x10\x11");  // ctrl-p ctrl-q
  EXPECT_EQ(terminal.wait(seconds(20)), 0) << terminal.screen();
  EXPECT_TRUE(same_settings(terminal.settings(), before));
  EXPECT_EQ(inspect(name, "/State/Status"), "running");
  EXPECT_EQ(fcvm({"exec", name, "echo", "alive"}).out, "alive\n");
}

TEST(TerminalTest, OwnDetachKeysReplaceTheUsualOnes) {
  const std::string name = unique_name("detach");
  const RemoveAtEnd remove(name);
  Terminal terminal(
      fcvm_argv(run_args({"-it", "--name", name, "--detach-keys", "ctrl-x,x"}, {"cat"})), 24, 80);
  terminal.type("\x10\x11line\n");
  ASSERT_TRUE(terminal.shows("line\r\n")) << terminal.screen();
  ASSERT_TRUE(terminal.shows("line\r\n")) << "the usual keys are no longer special\n"
                                          << terminal.screen();
  terminal.type("\x18x");
  EXPECT_EQ(terminal.wait(seconds(20)), 0) << terminal.screen();
  EXPECT_EQ(inspect(name, "/State/Status"), "running");
}

TEST(TerminalTest, ExecIsARealTerminal) {
  const Vm vm;
  Terminal terminal(fcvm_argv({"exec", "-it", vm.name(), "sh"}), 33, 99);
  const termios before = terminal.settings();
  ASSERT_TRUE(terminal.shows("# ")) << terminal.screen();
  terminal.type("echo size=$(stty size)\n");
  EXPECT_TRUE(terminal.shows("size=33 99", seconds(20))) << terminal.screen();
  terminal.resize(44, 111);
  terminal.type("while [ \"$(stty size)\" != '44 111' ]; do :; done; echo now$((44 + 0))\n");
  EXPECT_TRUE(terminal.shows("now44", seconds(20))) << terminal.screen();
  terminal.type("sh -c 'echo on$((1 + 1)); exec sleep 1000'\n");
  EXPECT_TRUE(terminal.shows("on2", seconds(20)));
  terminal.type(kCtrlC);
  terminal.type("echo status=$?\n");
  EXPECT_TRUE(terminal.shows("status=130", seconds(20))) << terminal.screen();
  terminal.type("echo done$((1 + 1)); (exit 6)\n");
  EXPECT_TRUE(terminal.shows("done2", seconds(20)));
  EXPECT_TRUE(terminal.shows("# ", seconds(20)));
  terminal.type(kCtrlD);
  EXPECT_EQ(terminal.wait(), 6) << terminal.screen();
  EXPECT_TRUE(same_settings(terminal.settings(), before));
}

}  // namespace
}  // namespace tests
