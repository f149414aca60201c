// run_session in a child process, against a monitor played by the test over a socketpair.
#include "vm/session.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "vm/detail/terminal.h"
#include "vm/testing/fake_agent.h"

namespace vm {
namespace {

using ::testing::AllOf;
using testing::FakeAgent;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

constexpr auto kLimit = 20s;

wire::ProcessStart plain_start(bool use_stdin) {
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kContainer;
  start.use_stdin = use_stdin;
  return start;
}

wire::ProcessStart tty_start() {
  wire::ProcessStart start = plain_start(true);
  start.tty = true;
  start.use_stderr = false;
  return start;
}

// How the child says how its session went, as its exit status and last words.
const char* end_name(SessionResult::End end) {
  switch (end) {
    case SessionResult::End::kExited:
      return "exited";
    case SessionResult::End::kFailed:
      return "failed";
    case SessionResult::End::kDetached:
      return "detached";
    case SessionResult::End::kStarted:
      return "started";
    case SessionResult::End::kOutputClosed:
      return "output closed";
    case SessionResult::End::kInterrupted:
      return "interrupted";
  }
  return "?";
}

class SessionTest : public ::testing::Test {
 protected:
  void SetUp() override { std::signal(SIGPIPE, SIG_IGN); }
  void TearDown() override {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
  }

  // Starts the session with pipes as its standard streams, or with `sink` as its standard output.
  void start(const wire::ProcessStart& how, base::Fd sink = {}) {
    base::Pipe in = base::make_pipe();
    base::Pipe out = base::make_pipe();
    if (sink) out.write = std::move(sink);
    base::Pipe err = base::make_pipe();
    run_child(how, {in.read.get(), out.write.get(), err.write.get()}, false);
    in_ = std::move(in.write);
    out_ = std::move(out.read);
    err_ = std::move(err.read);
    base::set_nonblocking(in_);
    base::set_nonblocking(out_);
    base::set_nonblocking(err_);
  }

  // Starts the session on a terminal of 24 rows and 80 columns; in_ and out_ are its master side.
  void start_on_terminal(const wire::ProcessStart& how, const std::string& detach_keys = "") {
    in_ = base::Fd(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    ASSERT_TRUE(in_.valid());
    ASSERT_EQ(::grantpt(in_.get()), 0);
    ASSERT_EQ(::unlockpt(in_.get()), 0);
    const winsize size{24, 80, 0, 0};
    ASSERT_EQ(::ioctl(in_.get(), TIOCSWINSZ, &size), 0);
    device_ = base::open_file(::ptsname(in_.get()), O_RDWR | O_NOCTTY);
    detach_keys_ = detach_keys;
    run_child(how, {device_.get(), device_.get(), device_.get()}, true);
    out_ = base::duplicate(in_);
  }

  bool raw() const {
    termios modes{};
    ::tcgetattr(device_.get(), &modes);
    return (modes.c_lflag & (ICANON | ECHO | ISIG)) == 0;
  }

  // Neither the child's end nor its pipes are in our loop: looks again every few milliseconds.
  bool until(const std::function<bool()>& done) {
    const auto deadline = std::chrono::steady_clock::now() + kLimit;
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      loop_.run_once(5ms);
    }
    return true;
  }

  FakeAgent::Process& process() {
    until([&] { return !agent_->processes.empty(); });
    return *agent_->processes.at(0);
  }

  // What can be read now is added to `text`; false at the end.
  static bool drain(const base::Fd& fd, std::string& text) {
    char buffer[65536];
    for (;;) {
      const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
      if (n > 0) {
        text.append(buffer, static_cast<std::size_t>(n));
        continue;
      }
      return n < 0 && errno == EAGAIN;
    }
  }

  bool shows(const std::string& text) {
    return until([&] {
      drain(out_, screen_);
      return screen_.find(text) != std::string::npos;
    });
  }

  void type(std::string_view keys) { base::write_all(in_, keys); }

  // Waits for the session's end; its last words are in words_.
  int end() {
    int status = -1;
    until([&] {
      drain(out_, screen_);
      return ::waitpid(child_, &status, WNOHANG) == child_;
    });
    if (status == -1) return -1;
    child_ = -1;
    words_ = base::read_to_end(words_pipe_, 1 << 16);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

  base::EventLoop loop_;
  std::unique_ptr<FakeAgent> agent_;
  base::Fd in_;
  base::Fd out_;
  base::Fd err_;
  base::Fd device_;
  std::string detach_keys_;
  bool signals_end_ = false;
  std::function<void()> in_child_on_started_;
  pid_t child_ = -1;
  base::Fd words_pipe_;
  std::string words_;
  std::string screen_;

 private:
  void run_child(const wire::ProcessStart& how, const std::array<int, 3>& fds, bool terminal) {
    base::SocketPair pair = base::make_socket_pair(SOCK_STREAM);
    base::Pipe words = base::make_pipe();
    child_ = ::fork();
    if (child_ == 0) {
      for (int i = 0; i < 3; ++i) ::dup2(fds[static_cast<std::size_t>(i)], i);
      const std::array keep{pair.second.get(), words.write.get()};
      base::close_from(3, keep);
      if (terminal) {
        ::setsid();
        ::ioctl(0, TIOCSCTTY, 0);
      }
      ::_exit(session_main(how, pair.second.get(), words.write));
    }
    agent_ = std::make_unique<FakeAgent>(loop_, std::move(pair.first));
    words_pipe_ = std::move(words.read);
  }

  int session_main(const wire::ProcessStart& how, int socket, const base::Fd& words) {
    try {
      base::EventLoop loop;
      SessionOptions options;
      options.detach_keys = detach_keys_;
      options.signals_end = signals_end_;
      options.on_started = in_child_on_started_;
      const auto result = run_session(loop, base::Fd(socket), how, options);
      base::write_all(words, base::cat(end_name(result.end), " ", result.message,
                                       result.output_error ? result.output_error->what() : ""));
      return result.exit_code;
    } catch (const base::Error& error) {
      base::write_all(words, base::cat(error.what(), "; ", error.hint()));
      return 125;
    }
  }
};

TEST_F(SessionTest, OutputAndExitCodeArriveExactly) {
  start(plain_start(false));
  process().started();
  process().print("out\n");
  process().complain("err\n");
  process().exit(37);
  EXPECT_EQ(end(), 37);
  EXPECT_EQ(words_, "exited ");
  EXPECT_EQ(screen_, "out\n");
  std::string err;
  drain(err_, err);
  EXPECT_EQ(err, "err\n");
}

TEST_F(SessionTest, DeathBySignalIs128PlusItsNumber) {
  start(plain_start(false));
  process().started();
  process().exit(0, SIGSEGV);
  EXPECT_EQ(end(), 128 + SIGSEGV);
}

TEST_F(SessionTest, ProcessThatNeverRanGivesItsCodeAndReason) {
  start(plain_start(false));
  process().stdio.reset();
  process().err.reset();
  process().fail(127, "no such program");
  EXPECT_EQ(end(), 127);
  EXPECT_EQ(words_, "failed no such program");
}

TEST_F(SessionTest, WithoutStdinNothingIsReadFromIt) {
  start(plain_start(false));
  base::write_all(in_, "secret");
  process().started();
  EXPECT_TRUE(until([&] { return process().input_ended; }));
  EXPECT_EQ(process().input, "");
  process().exit(0);
  EXPECT_EQ(end(), 0);
}

TEST_F(SessionTest, InputArrivesUnchangedWithItsEnd) {
  start(plain_start(true));
  process().started();
  const std::string input("a\0\x10\x11\xff b", 7);
  base::write_all(in_, input);
  in_.reset();
  EXPECT_TRUE(until([&] { return process().input_ended; }));
  EXPECT_EQ(process().input, input);
  process().exit(0);
  EXPECT_EQ(end(), 0);
}

TEST_F(SessionTest, AllFourDirectionsSaturatedAtOnceLoseNothing) {
  constexpr std::size_t kBytes = 8 << 20;
  start(plain_start(true));
  auto& guest = process();
  guest.started();
  std::string pattern(1 << 20, '\0');
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<char>(i * 31 >> 3);
  const auto piece = [&](std::size_t at) {
    const std::size_t offset = at % pattern.size();
    return std::string_view(pattern).substr(offset, std::min<std::size_t>(65536, kBytes - at));
  };
  std::size_t fed = 0;
  std::size_t printed = 0;
  std::size_t complained = 0;
  std::string err;
  const auto done = [&] {
    while (fed < kBytes) {
      const ssize_t n = ::write(in_.get(), piece(fed).data(), piece(fed).size());
      if (n < 0) break;
      fed += static_cast<std::size_t>(n);
      if (fed == kBytes) in_.reset();
    }
    while (printed < kBytes) {
      const std::size_t n = guest.print(piece(printed));
      if (n == 0) break;
      printed += n;
    }
    while (complained < kBytes) {
      const std::size_t n = guest.complain(piece(complained));
      if (n == 0) break;
      complained += n;
    }
    drain(out_, screen_);
    drain(err_, err);
    return guest.input_ended && screen_.size() == kBytes && err.size() == kBytes;
  };
  EXPECT_TRUE(until(done));
  guest.exit(5);
  EXPECT_EQ(end(), 5);
  std::string expected;
  while (expected.size() < kBytes) expected += piece(expected.size());
  EXPECT_TRUE(guest.input == expected);
  EXPECT_TRUE(screen_ == expected);
  EXPECT_TRUE(err == expected);
}

TEST_F(SessionTest, OutputThatIsStillToBeWrittenIsWrittenAfterTheExit) {
  start(plain_start(false));
  auto& guest = process();
  guest.started();
  const std::string text(200'000, 'x');
  std::size_t printed = 0;
  ASSERT_TRUE(until([&] { return (printed += guest.print(text.substr(printed))) == text.size(); }));
  guest.exit(3);
  EXPECT_EQ(end(), 3);
  EXPECT_EQ(screen_.size(), text.size());
}

TEST_F(SessionTest, ClosedStdoutEndsTheSessionAndNotTheProcess) {
  start(plain_start(false));
  auto& guest = process();
  guest.started();
  out_.reset();
  out_ = base::open_file("/dev/null", O_RDONLY);
  guest.print("y\n");
  EXPECT_EQ(end(), 126);
  EXPECT_EQ(words_, "output closed writing the container's output: Broken pipe");
}

TEST_F(SessionTest, FullDiskBehindStdoutEndsTheSessionAs125) {
  start(plain_start(false), base::open_file("/dev/full", O_WRONLY));
  auto& guest = process();
  guest.started();
  guest.print("y\n");
  EXPECT_EQ(end(), 125);
  EXPECT_THAT(words_, HasSubstr("output closed"));
  EXPECT_THAT(words_, HasSubstr("No space left on device"));
}

TEST_F(SessionTest, FullDiskBehindStdoutIsNoSuccessOfAProcessThatHasEnded) {
  for (const int code : {0, 37}) {
    start(plain_start(false), base::open_file("/dev/full", O_WRONLY));
    auto& guest = process();
    // The exit is known before the first byte of output comes.
    wire::ProcessEvent event;
    event.kind = wire::ProcessEvent::Kind::kExited;
    event.code = code;
    guest.control->send(wire::to_json(event));
    guest.control->finish();
    loop_.run_until([] { return false; }, 50ms);
    guest.print("y\n");
    guest.stdio->shutdown_write();
    guest.err->shutdown_write();
    EXPECT_EQ(end(), code == 0 ? 125 : code);
    EXPECT_THAT(words_, HasSubstr("exited"));
    EXPECT_THAT(words_, HasSubstr("No space left on device"));
  }
}

TEST_F(SessionTest, OutputThatIsCutOffIsNoSuccess) {
  start(plain_start(false));
  process().started();
  process().err.reset();
  process().exit(0);
  EXPECT_EQ(end(), 125);
  EXPECT_THAT(words_, HasSubstr("the end of the container's output was lost"));
}

TEST_F(SessionTest, MonitorThatGivesTheProcessUpIsAnError) {
  start(plain_start(true));
  process().started();
  process().control->reset(wire::ResetReason::kProtocol);
  EXPECT_EQ(end(), 125);
  EXPECT_THAT(words_, HasSubstr("gave the process up"));
}

TEST_F(SessionTest, MonitorThatEndsWithoutAnExitIsAnError) {
  start(plain_start(true));
  process().started();
  process().control->finish();
  EXPECT_EQ(end(), 125);
  EXPECT_THAT(words_, HasSubstr("does not say how the process ended"));
}

TEST_F(SessionTest, EventThatCannotBeReadIsAnError) {
  start(plain_start(true));
  process().control->send(R"({"event":"danced"})");
  EXPECT_EQ(end(), 125);
  EXPECT_NE(words_, "");
}

TEST_F(SessionTest, SignalsGoToTheProcess) {
  start(plain_start(false));
  process().started();
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2}) {
    process().commands.clear();
    ::kill(child_, signal);
    ASSERT_TRUE(until([&] { return !process().commands.empty(); })) << signal;
    EXPECT_EQ(process().commands.at(0).kind, wire::ProcessCommand::Kind::kSignal);
    EXPECT_EQ(process().commands.at(0).signal, signal);
  }
  process().exit(0, SIGINT);
  EXPECT_EQ(end(), 130);
}

TEST_F(SessionTest, SignalBeforeTheStartIsPassedOnToo) {
  start(plain_start(false));
  auto& guest = process();
  ::kill(child_, SIGINT);
  ASSERT_TRUE(until([&] { return !guest.commands.empty(); }));
  EXPECT_EQ(guest.commands.at(0).signal, SIGINT);
  guest.exit(130);
  EXPECT_EQ(end(), 130);
}

TEST_F(SessionTest, SignalEndsTheWaitForAGuestThatDoesNotAnswer) {
  signals_end_ = true;
  start(plain_start(false));
  process().started();
  ::kill(child_, SIGTERM);
  EXPECT_EQ(end(), 128 + SIGTERM);
  EXPECT_EQ(words_, "interrupted ");
  ASSERT_EQ(process().commands.size(), 1U);
  EXPECT_EQ(process().commands.at(0).signal, SIGTERM);
}

TEST_F(SessionTest, ProcessThatAnswersTheSignalSaysHowItEnded) {
  signals_end_ = true;
  start(plain_start(false));
  process().started();
  ::kill(child_, SIGINT);
  ASSERT_TRUE(until([&] { return !process().commands.empty(); }));
  process().exit(7);
  // A slow machine may have lost its patience first.
  const int code = end();
  EXPECT_TRUE(words_ == "exited " ? code == 7 : code == 130) << words_ << code;
}

TEST_F(SessionTest, MonitorThatVanishesIsAnError) {
  start(plain_start(true));
  process().started();
  agent_->processes.clear();
  agent_->vanish();
  EXPECT_EQ(end(), 125);
  EXPECT_THAT(words_, AllOf(HasSubstr("monitor"), Not(HasSubstr("another version"))));
}

TEST_F(SessionTest, MonitorThatHangsUpOnTheHelloMayBeOfAnotherVersion) {
  start(plain_start(true));
  agent_->vanish();
  EXPECT_EQ(end(), 125);
  EXPECT_THAT(words_, AllOf(HasSubstr("monitor is gone"), HasSubstr("another version")));
}

TEST_F(SessionTest, DetachedStartEndsWhenTheProcessRuns) {
  wire::ProcessStart how = plain_start(false);
  how.use_stdout = false;
  how.use_stderr = false;
  how.detach = true;
  start(how);
  EXPECT_FALSE(process().stdio);
  process().started();
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(words_, "started ");
}

TEST_F(SessionTest, TerminalIsRawWhileTheProcessRunsAndRestoredAfterwards) {
  start_on_terminal(tty_start());
  auto& guest = process();
  EXPECT_EQ(guest.start.rows, 24);
  EXPECT_EQ(guest.start.columns, 80);
  EXPECT_FALSE(raw());
  guest.started();
  EXPECT_TRUE(until([&] { return raw(); }));
  guest.print("$ ");
  EXPECT_TRUE(shows("$ "));
  guest.exit(0);
  EXPECT_EQ(end(), 0);
  EXPECT_FALSE(raw());
}

TEST_F(SessionTest, ControlKeysReachTheProcessAsBytes) {
  start_on_terminal(tty_start());
  auto& guest = process();
  guest.started();
  ASSERT_TRUE(until([&] { return raw(); }));
  type("\x03\x04\x1a\r");
  EXPECT_TRUE(until([&] { return guest.input.size() == 4; }));
  EXPECT_EQ(guest.input, "\x03\x04\x1a\r");
  EXPECT_TRUE(guest.commands.empty());
  EXPECT_FALSE(guest.input_ended);
}

TEST_F(SessionTest, CtrlCWhileTheVmBootsIsASignal) {
  start_on_terminal(tty_start());
  auto& guest = process();
  type("\x03");
  ASSERT_TRUE(until([&] { return !guest.commands.empty(); }));
  EXPECT_EQ(guest.commands.at(0).signal, SIGINT);
}

TEST_F(SessionTest, WhatWasTypedDuringTheBootIsNotLost) {
  start_on_terminal(tty_start());
  auto& guest = process();
  type("ls\n");
  guest.started();
  EXPECT_TRUE(until([&] { return guest.input == "ls\n" || guest.input == "ls\r"; })) << guest.input;
}

TEST_F(SessionTest, WindowChangesArePassedOn) {
  start_on_terminal(tty_start());
  auto& guest = process();
  guest.started();
  ASSERT_TRUE(until([&] { return raw(); }));
  const winsize size{50, 132, 0, 0};
  ASSERT_EQ(::ioctl(in_.get(), TIOCSWINSZ, &size), 0);
  ASSERT_TRUE(until([&] { return !guest.commands.empty(); }));
  EXPECT_EQ(guest.commands.at(0).kind, wire::ProcessCommand::Kind::kResize);
  EXPECT_EQ(guest.commands.at(0).rows, 50);
  EXPECT_EQ(guest.commands.at(0).columns, 132);
}

TEST_F(SessionTest, DetachKeysEndTheSessionAndRestoreTheTerminal) {
  start_on_terminal(tty_start(), "\x10\x11");
  auto& guest = process();
  guest.started();
  ASSERT_TRUE(until([&] { return raw(); }));
  type("a\x10");
  EXPECT_TRUE(until([&] { return guest.input == "a"; }));
  type("b\x10\x11");
  EXPECT_EQ(end(), 0);
  EXPECT_EQ(words_, "detached ");
  EXPECT_FALSE(raw());
}

TEST_F(SessionTest, TerminalIsRestoredWhenTheMonitorVanishes) {
  start_on_terminal(tty_start());
  process().started();
  ASSERT_TRUE(until([&] { return raw(); }));
  agent_->processes.clear();
  agent_->vanish();
  EXPECT_EQ(end(), 125);
  EXPECT_FALSE(raw());
}

TEST_F(SessionTest, TerminalIsRestoredByADeadlySignal) {
  start_on_terminal(tty_start());
  process().started();
  ASSERT_TRUE(until([&] { return raw(); }));
  ::kill(child_, SIGABRT);
  EXPECT_EQ(end(), 128 + SIGABRT);
  EXPECT_FALSE(raw());
}

std::string fed(vm::detail::DetachMatcher& matcher, std::string_view typed,
                bool* complete = nullptr) {
  std::string out;
  const bool found = matcher.feed(typed, out);
  if (complete != nullptr) *complete = found;
  return out;
}

TEST(DetachMatcherTest, HeldBackBeginningIsGivenBackWhenTheSequenceBreaks) {
  vm::detail::DetachMatcher matcher("\x10\x11");
  EXPECT_EQ(fed(matcher, "\x10"), "");
  EXPECT_EQ(fed(matcher, "x"), "\x10x");
  EXPECT_EQ(fed(matcher, "\x10\x10"), "\x10");
  bool complete = false;
  EXPECT_EQ(fed(matcher, "\x11zz", &complete), "");
  EXPECT_TRUE(complete);
}

TEST(DetachMatcherTest, RepeatedBeginningsAreFound) {
  vm::detail::DetachMatcher matcher("aab");
  bool complete = false;
  EXPECT_EQ(fed(matcher, "aaab", &complete), "a");
  EXPECT_TRUE(complete);
}

TEST(DetachMatcherTest, EmptySequencePassesEverything) {
  vm::detail::DetachMatcher matcher("");
  EXPECT_EQ(fed(matcher, "\x10\x11"), "\x10\x11");
  EXPECT_EQ(matcher.held(), "");
}

}  // namespace
}  // namespace vm
