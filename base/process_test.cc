#include "base/process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SpawnOptions shell(const std::string& script) {
  SpawnOptions options;
  options.argv = {"/bin/sh", "-c", script};
  return options;
}

TEST(ChildProcessTest, ReportsExitCodeAndSignal) {
  const auto code = ChildProcess::spawn(shell("exit 37")).wait();
  ASSERT_TRUE(code);
  EXPECT_EQ(code->code, 37);
  EXPECT_EQ(code->as_shell(), 37);
  EXPECT_FALSE(code->success());
  const auto killed = ChildProcess::spawn(shell("kill -TERM $$")).wait();
  ASSERT_TRUE(killed);
  EXPECT_EQ(killed->signal, SIGTERM);
  EXPECT_EQ(killed->as_shell(), 128 + SIGTERM);
}

TEST(ChildProcessTest, ExecFailureIsThrownWithItsErrnoAndName) {
  const tests::TempDir dir;
  const auto failure = [](const std::string& program) {
    SpawnOptions options;
    options.argv = {program};
    try {
      ChildProcess::spawn(options);
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(program), std::string::npos);
      return error.errnum();
    }
    return 0;
  };
  EXPECT_EQ(failure("/nonexistent/program"), ENOENT);
  EXPECT_EQ(failure("no-such-program-anywhere"), ENOENT);
  EXPECT_EQ(failure(dir.write("plain", "#!/bin/sh\n").string()), EACCES);
  const std::string garbage = dir.write("garbage",
                                        "\x7f"
                                        "ELFnope")
                                  .string();
  ::chmod(garbage.c_str(), 0755);
  EXPECT_EQ(failure(garbage), ENOEXEC);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child was left";
  EXPECT_THROW(ChildProcess::spawn({}), Error);
}

TEST(ChildProcessTest, DescriptorsAreMappedEvenWhenTheyOverlap) {
  // Sources and targets are crossed: 40 -> 41, 41 -> 40, and one source goes to two targets.
  Pipe a = make_pipe();
  Pipe b = make_pipe();
  Pipe out = make_pipe();
  ASSERT_EQ(::dup3(a.read.get(), 40, O_CLOEXEC), 40);
  ASSERT_EQ(::dup3(b.read.get(), 41, O_CLOEXEC), 41);
  const Fd forty(40);
  const Fd forty_one(41);
  write_all(a.write, std::string_view("A"));
  write_all(b.write, std::string_view("B"));
  a.write.reset();
  b.write.reset();
  SpawnOptions options = shell("cat /proc/self/fd/40; cat /proc/self/fd/41; echo err >&2; cat <&5");
  Pipe c = make_pipe();
  write_all(c.write, std::string_view("C"));
  c.write.reset();
  options.fds = {{40, 41}, {41, 40}, {out.write.get(), 1}, {out.write.get(), 2}, {c.read.get(), 5}};
  ChildProcess child = ChildProcess::spawn(options);
  out.write.reset();
  EXPECT_EQ(read_to_end(out.read, 100), "BAerr\nC");
  EXPECT_TRUE(child.wait()->success());
}

TEST(ChildProcessTest, StandardStreamsAreDevNullAndNothingElseIsInherited) {
  Pipe out = make_pipe();
  const int leaked = ::dup(out.read.get());  // without CLOEXEC
  SpawnOptions options =
      shell("readlink /proc/self/fd/0 /proc/self/fd/2; ls /proc/$$/fd | tr '\\n' ' '");
  options.fds = {{out.write.get(), 1}};
  ChildProcess child = ChildProcess::spawn(options);
  out.write.reset();
  const std::string text = read_to_end(out.read, 1000);
  ::close(leaked);
  EXPECT_TRUE(text.starts_with("/dev/null\n/dev/null\n0 1 2 ")) << text;
  EXPECT_EQ(text.find(std::to_string(leaked) + " "), std::string::npos) << text;
}

TEST(ChildProcessTest, EnvironmentFolderSessionAndSignalsAreAsAsked) {
  std::signal(SIGUSR1, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigset_t old;
  pthread_sigmask(SIG_BLOCK, &blocked, &old);
  const tests::TempDir dir;
  SpawnOptions options = shell(
      "echo $ONLY:$HOME:$PWD; ps -o sid= -p $$ 2>/dev/null | tr -d ' '; echo $$; "
      "grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '[:blank:]'");
  options.env = std::vector<std::string>{"ONLY=x", "PATH=/usr/bin:/bin"};
  options.working_directory = canonical_path(dir.path().string());
  options.new_session = true;
  const CommandResult result = run_command(options);
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  std::signal(SIGUSR1, SIG_DFL);
  EXPECT_TRUE(result.out.starts_with("x::" + options.working_directory + "\n")) << result.out;
  EXPECT_NE(result.out.find("SigBlk:0000000000000000"), std::string::npos) << result.out;
  EXPECT_NE(result.out.find("SigIgn:0000000000000000"), std::string::npos) << result.out;
}

TEST(ChildProcessTest, MissingFolderIsAnErrorOfTheStart) {
  SpawnOptions options = shell("true");
  options.working_directory = "/nonexistent";
  EXPECT_THROW(ChildProcess::spawn(options), Error);
}

TEST(ChildProcessTest, ErrnoOfBeforeExecIsThrownAndItRunsInTheChild) {
  const pid_t self = ::getpid();
  SpawnOptions options = shell("exit 3");
  options.before_exec = [self] { return ::getpid() == self ? EINVAL : 0; };
  EXPECT_EQ(ChildProcess::spawn(options).wait()->code, 3);
  options.before_exec = [] { return EDOM; };
  try {
    ChildProcess::spawn(options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.errnum(), EDOM);
  }
}

TEST(ChildProcessTest, WaitTimesOutAndKillEndsIt) {
  ChildProcess child = ChildProcess::spawn(shell("exec sleep 1000"));
  EXPECT_FALSE(child.wait(milliseconds(20)));
  EXPECT_FALSE(child.try_wait());
  EXPECT_TRUE(child.running());
  EXPECT_FALSE(wait_for(child.pidfd().get(), POLLIN, milliseconds(0)));
  child.kill(SIGKILL);
  const auto status = child.wait(seconds(10));
  ASSERT_TRUE(status);
  EXPECT_EQ(status->signal, SIGKILL);
  EXPECT_EQ(child.try_wait()->signal, SIGKILL) << "asked again";
  child.kill(SIGKILL);
}

TEST(ChildProcessTest, DestructionKillsAndReapsAndMoveAssignmentDoesTheSameToTheOld) {
  pid_t first = 0;
  pid_t second = 0;
  {
    ChildProcess child = ChildProcess::spawn(shell("exec sleep 1000"));
    first = child.pid();
    child = ChildProcess::spawn(shell("exec sleep 1000"));
    EXPECT_EQ(::kill(first, 0), -1) << "the old one lives on";
    second = child.pid();
    ChildProcess moved(std::move(child));
    EXPECT_FALSE(child.running());
    EXPECT_TRUE(moved.running());
  }
  EXPECT_EQ(::kill(second, 0), -1);
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a zombie was left";
}

TEST(ChildProcessTest, ReleasedChildIsLeftAlone) {
  ChildProcess child = ChildProcess::spawn(shell("exec sleep 1000"));
  const pid_t pid = child.release();
  child = ChildProcess();
  EXPECT_EQ(::kill(pid, 0), 0);
  ::kill(pid, SIGKILL);
  EXPECT_EQ(::waitpid(pid, nullptr, 0), pid);
}

TEST(ChildProcessTest, ParentDeathSignalFiresWhenTheParentDies) {
  Pipe report = make_pipe();
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    SpawnOptions options = shell("exec sleep 1000");
    options.parent_death_signal = SIGKILL;
    ChildProcess child = ChildProcess::spawn(options);
    const pid_t pid = child.pid();
    [[maybe_unused]] const ssize_t n = ::write(report.write.get(), &pid, sizeof pid);
    ::kill(::getpid(), SIGKILL);
  }
  pid_t grandchild = 0;
  ASSERT_EQ(::read(report.read.get(), &grandchild, sizeof grandchild),
            static_cast<ssize_t>(sizeof grandchild));
  ::waitpid(parent, nullptr, 0);
  const auto end = std::chrono::steady_clock::now() + seconds(10);
  bool alive = true;
  while (alive && std::chrono::steady_clock::now() < end) {
    const auto id = identify_process(grandchild);
    alive = id && process_alive(*id);
    if (alive) ::usleep(1000);
  }
  EXPECT_FALSE(alive);
}

TEST(RunCommandTest, CollectsBothOutputsAndTheStatus) {
  std::vector<std::string> lines;
  CommandOptions options;
  options.on_stderr_line = [&](const std::string& line) { lines.push_back(line); };
  const CommandResult result =
      run_command(shell("echo out; printf 'one\\ntwo\\rtail' >&2; exit 4"), options);
  EXPECT_EQ(result.out, "out\n");
  EXPECT_EQ(result.err, "one\ntwo\rtail");
  EXPECT_EQ(result.status.code, 4);
  EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "tail"}));
}

TEST(RunCommandTest, CheckedThrowsWithTheLastLineOfStderr) {
  try {
    run_command_checked(shell("echo first >&2; echo 'the reason' >&2; exit 2"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "running '/bin/sh': exit status 2: the reason");
  }
  try {
    run_command_checked(shell("kill -9 $$"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "running '/bin/sh': killed by signal 9");
  }
  EXPECT_EQ(run_command_checked(shell("echo fine")).out, "fine\n");
}

TEST(RunCommandTest, TimeoutKillsTheCommand) {
  const tests::TempDir dir;
  CommandOptions options;
  options.timeout = milliseconds(100);
  const std::string pid_file = (dir / "pid").string();
  try {
    run_command(shell("echo $$ > " + pid_file + "; exec sleep 1000"), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.errnum(), ETIMEDOUT);
  }
  const std::string pid = read_file(pid_file);
  EXPECT_FALSE(identify_process(std::stoi(pid)));
}

TEST(RunCommandTest, TooMuchOutputIsAnErrorAndStderrIsCutToItsTail) {
  CommandOptions options;
  options.max_output_bytes = 1000;
  EXPECT_THROW(run_command(shell("head -c 1001 /dev/zero"), options), Error);
  EXPECT_EQ(run_command(shell("head -c 1000 /dev/zero"), options).out.size(), 1000U);
  const CommandResult result = run_command(shell("head -c 1000000 /dev/zero >&2; echo end >&2"));
  EXPECT_EQ(result.err.size(), 64U * 1024);
  EXPECT_TRUE(result.err.ends_with("end\n"));
}

TEST(RunCommandTest, CancellationKillsTheCommandAndIsNotAnError) {
  Cancellation cancellation;
  CommandOptions options;
  options.cancellation = &cancellation;
  std::thread canceller([&] {
    ::usleep(30'000);
    cancellation.cancel();
  });
  EXPECT_THROW(run_command(shell("exec sleep 1000"), options), Cancelled);
  canceller.join();
  EXPECT_EQ(::waitpid(-1, nullptr, WNOHANG), -1) << "a child was left";
}

TEST(RunCommandTest, TickRunsWhileTheCommandDoesAndMayRefuse) {
  CommandOptions options;
  options.tick_interval = milliseconds(5);
  int ticks = 0;
  options.tick = [&]() -> std::optional<std::string> {
    return ++ticks == 3 ? std::optional<std::string>("disk full") : std::nullopt;
  };
  try {
    run_command(shell("exec sleep 1000"), options);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "disk full");
  }
  EXPECT_EQ(ticks, 3);
}

TEST(RunCommandTest, ProcessLeftBehindWithThePipesDoesNotHoldItUp) {
  const tests::TempDir dir;
  const std::string pid_file = (dir / "pid").string();
  CommandOptions options;
  options.timeout = seconds(20);
  const auto start = std::chrono::steady_clock::now();
  const CommandResult result =
      run_command(shell("sleep 1000 & echo $! > " + pid_file + "; echo done"), options);
  EXPECT_EQ(result.out, "done\n");
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(15));
  ::kill(std::stoi(read_file(pid_file)), SIGKILL);
}

TEST(RunCommandTest, GivenStandardInputIsUsed) {
  Pipe in = make_pipe();
  write_all(in.write, std::string_view("fed"));
  in.write.reset();
  SpawnOptions spawn = shell("cat");
  spawn.fds = {{in.read.get(), 0}};
  EXPECT_EQ(run_command(spawn).out, "fed");
}

TEST(FindProgramTest, FirstOfPathThatMayBeExecutedIsFound) {
  EXPECT_TRUE(find_program("sh").ends_with("/sh"));
  EXPECT_EQ(find_program("/bin/sh"), "/bin/sh");
  EXPECT_EQ(find_program("no-such-program"), "");
  EXPECT_EQ(find_program("/etc/passwd"), "");
}

TEST(ProcessIdTest, AnotherStartTimeOrBootIsAnotherProcess) {
  ChildProcess child = ChildProcess::spawn(shell("exec sleep 1000"));
  const auto id = identify_process(child.pid());
  ASSERT_TRUE(id);
  EXPECT_TRUE(process_alive(*id));
  EXPECT_TRUE(open_process(*id).valid());
  ProcessId reused = *id;
  ++reused.start_time_ticks;
  EXPECT_FALSE(process_alive(reused));
  EXPECT_FALSE(open_process(reused).valid());
  ProcessId rebooted = *id;
  rebooted.boot_id = "00000000-0000-0000-0000-000000000000";
  EXPECT_FALSE(process_alive(rebooted));
  EXPECT_FALSE(process_alive({}));
  EXPECT_FALSE(open_process({-1, 0, boot_id()}).valid());
}

TEST(ProcessIdTest, ZombieIsNotAliveAndASignalToItIsNoError) {
  ChildProcess child = ChildProcess::spawn(shell("exec sleep 1000"));
  const auto id = identify_process(child.pid());
  ASSERT_TRUE(id);
  const Fd pidfd = open_process(*id);
  send_signal(pidfd, SIGKILL);
  ASSERT_TRUE(wait_for(pidfd.get(), POLLIN, seconds(10)));
  EXPECT_FALSE(process_alive(*id));
  child.wait();
  EXPECT_NO_THROW(send_signal(pidfd, SIGKILL));
  EXPECT_FALSE(identify_process(id->pid));
}

TEST(ProcessIdTest, NameWithSpacesAndParenthesesDoesNotConfuse) {
  const tests::TempDir dir;
  const std::string program = (dir / "a) S 1 (b").string();
  ASSERT_EQ(::symlink("/bin/sleep", program.c_str()), 0);
  SpawnOptions options;
  options.argv = {program, "1000"};
  ChildProcess child = ChildProcess::spawn(options);
  ChildProcess plain = ChildProcess::spawn(shell("exec sleep 1000"));
  const auto odd = identify_process(child.pid());
  const auto ordinary = identify_process(plain.pid());
  ASSERT_TRUE(odd && ordinary);
  EXPECT_LE(ordinary->start_time_ticks - odd->start_time_ticks, 1000U);
  EXPECT_TRUE(process_alive(*odd));
}

}  // namespace
}  // namespace base
