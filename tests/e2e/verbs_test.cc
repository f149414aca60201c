// The verbs that look into a running VM or hold it still.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/stat.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"
#include "tests/support/terminal.h"

namespace tests {
namespace {

using testing::HasSubstr;

std::int64_t now_s() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST(VerbsPauseTest, PausedVmStandsStillAndGoesOnWithTheRightTime) {
  const Vm vm({}, Vm::sleeping_command("USR1", "echo signalled > /sig"));
  Outcome outcome = fcvm({"pause", vm.name()});
  EXPECT_EQ(outcome.out, vm.name() + "\n") << outcome;
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "paused");
  EXPECT_EQ(inspect(vm.name(), "/State/Paused"), "true");
  EXPECT_THAT(fcvm({"ls"}).out, HasSubstr("Paused"));
  EXPECT_EQ(fcvm({"ls", "-q", "--filter", "status=paused"}).out, vm.id().substr(0, 12) + "\n");

  outcome = fcvm({"pause", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("it is paused already"));
  outcome = vm.exec({"true"});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("is paused, not running"));
  outcome = fcvm({"stop", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("it is paused"));
  EXPECT_EQ(fcvm({"kill", "-s", "USR1", vm.name()}).status, 0);

  // The guest's clock has to fall behind far enough to be seen.
  std::this_thread::sleep_for(std::chrono::seconds(3));
  outcome = fcvm({"unpause", vm.name()});
  EXPECT_EQ(outcome.out, vm.name() + "\n") << outcome;
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "running");
  const std::int64_t before = now_s();
  const std::int64_t inside = std::stoll(vm.exec({"date", "+%s"}).out);
  EXPECT_GE(inside, before - 1);
  EXPECT_LE(inside, now_s() + 1);
  EXPECT_EQ(vm.exec({"sh", "-c", "until [ -e /sig ]; do sleep 0.1; done; cat /sig"}).out,
            "signalled\n");
  outcome = fcvm({"unpause", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("it is running, not paused"));

  EXPECT_EQ(fcvm({"pause", "--all"}).out, vm.id() + "\n");
  EXPECT_EQ(fcvm({"unpause", "--all"}).out, vm.id() + "\n");
  EXPECT_EQ(fcvm({"pause", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"kill", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"wait", vm.name()}).out, "137\n");
  outcome = fcvm({"pause", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("is exited, not running"));
}

TEST(VerbsPauseTest, PausedVmIsRemovedByForceOnly) {
  const Vm vm;
  ASSERT_EQ(fcvm({"pause", vm.name()}).status, 0);
  const Outcome outcome = fcvm({"rm", vm.name()});
  EXPECT_EQ(outcome.status, 125);
  EXPECT_THAT(outcome.err, HasSubstr("is paused"));
  EXPECT_EQ(fcvm({"rm", "-f", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"pause", vm.name()}).status, 125);
}

// ---- attach

// True when the attached `client` hears the container: only what is said after it has attached.
bool hears(const Vm& vm, const Process& client) {
  for (int i = 0; i < 40; ++i) {
    vm.exec({"sh", "-c", "echo heard > /proc/1/fd/1"});
    if (client.wait_for_out("heard", std::chrono::milliseconds(300))) return true;
  }
  return false;
}

TEST(VerbsAttachTest, StreamsAreSharedAndTheStatusIsTheContainers) {
  const Vm vm({"-i"}, {"sh", "-c", "echo ready; read line; echo got $line; echo err >&2; exit 7"});
  Process first(fcvm_command({"attach", "--no-stdin", vm.name()}));
  ASSERT_TRUE(hears(vm, first));
  Command command = fcvm_command({"attach", vm.name()});
  command.keep_input_open = true;
  Process second(std::move(command));
  second.write("words\n");
  const Outcome typed = second.wait();
  EXPECT_EQ(typed.out, "got words\n") << typed;
  EXPECT_EQ(typed.err, "err\n");
  EXPECT_EQ(typed.status, 7);
  EXPECT_EQ(first.wait().status, 7);
  const Outcome late = fcvm({"attach", vm.name()});
  EXPECT_EQ(late.status, 125);
  EXPECT_THAT(late.err, HasSubstr("one can attach to a running VM only"));
}

TEST(VerbsAttachTest, SignalsGoToTheContainerUnlessToldOtherwise) {
  const Vm vm({}, Vm::sleeping_command("TERM", "echo caught; exit 3"));
  Process alone(fcvm_command({"attach", "--sig-proxy=false", vm.name()}));
  Process proxy(fcvm_command({"attach", vm.name()}));
  ASSERT_TRUE(hears(vm, alone));
  ASSERT_TRUE(hears(vm, proxy));
  alone.signal(SIGTERM);
  EXPECT_EQ(alone.wait().status, 128 + SIGTERM);
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "running");
  proxy.signal(SIGTERM);
  const Outcome outcome = proxy.wait();
  EXPECT_THAT(outcome.out, HasSubstr("caught"));
  EXPECT_EQ(outcome.status, 3);
}

TEST(VerbsAttachTest, DetachKeysLeaveATerminalRunning) {
  const Vm vm({"-it"}, {"sh"});
  for (const bool own_keys : {false, true}) {
    std::vector<std::string> args{"attach"};
    if (own_keys) args.insert(args.end(), {"--detach-keys", "ctrl-x,x"});
    args.push_back(vm.name());
    Terminal terminal(fcvm_argv(args), 33, 99);
    terminal.type("echo size=$(stty size)\n");
    EXPECT_TRUE(terminal.shows("size=33 99", std::chrono::seconds(20))) << terminal.screen();
    terminal.type(own_keys ? "\x18x" : "\x10\x11");
    EXPECT_EQ(terminal.wait(std::chrono::seconds(20)), 0) << terminal.screen();
    EXPECT_EQ(inspect(vm.name(), "/State/Status"), "running");
  }
}

// ---- top, stats, port, cp

class VerbsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    vm_ = std::make_unique<Vm>(std::vector<std::string>{"--workdir", "/home/app"});
  }
  static void TearDownTestSuite() { vm_.reset(); }
  void SetUp() override { ASSERT_NE(vm_, nullptr); }

  static std::string shell(const std::string& script) {
    return vm_->exec({"sh", "-c", script}).out;
  }
  static Outcome cp(const std::vector<std::string>& args) {
    std::vector<std::string> words{"cp"};
    words.insert(words.end(), args.begin(), args.end());
    return fcvm(words);
  }
  static void expect_copied(const std::vector<std::string>& args) {
    const Outcome outcome = cp(args);
    EXPECT_EQ(outcome.status, 0) << outcome;
    EXPECT_EQ(outcome.out + outcome.err, "");
  }
  static void expect_refused(const std::vector<std::string>& args, const std::string& why) {
    const Outcome outcome = cp(args);
    EXPECT_EQ(outcome.status, 125) << outcome;
    EXPECT_THAT(outcome.err, HasSubstr(why));
  }
  static std::string in_vm(const std::string& path) { return vm_->name() + ":" + path; }

  TempDir dir_;
  static std::unique_ptr<Vm> vm_;
};
std::unique_ptr<Vm> VerbsTest::vm_;

TEST_F(VerbsTest, TopShowsTheProcessesOfTheContainerOnly) {
  const std::string table = fcvm({"top", vm_->name()}).out;
  EXPECT_THAT(table,
              testing::StartsWith("USER        PID         PPID        %CPU        ELAPSED"));
  EXPECT_THAT(table, HasSubstr("root        1           0           "));
  EXPECT_THAT(table, HasSubstr("sleep 1000"));
  EXPECT_THAT(table, testing::Not(HasSubstr("/init")));
  const std::string chosen = fcvm({"top", vm_->name(), "pid,comm", "user"}).out;
  EXPECT_THAT(chosen,
              testing::StartsWith("PID         COMMAND     USER\n1           sh          root\n"));
  EXPECT_THAT(fcvm({"top", vm_->name(), "pid", "capeff", "seccomp", "state", "%p"}).out,
              HasSubstr("CHOWN,DAC_OVERRIDE"));
  const Outcome unknown = fcvm({"top", vm_->name(), "pid", "colour"});
  EXPECT_EQ(unknown.status, 125);
  EXPECT_THAT(unknown.err, HasSubstr("unknown descriptor 'colour'"));
  EXPECT_THAT(fcvm({"top", vm_->name(), "-o", "pid,comm"}).out, HasSubstr("ps"));
  EXPECT_EQ(fcvm({"exec", "-d", "-u", "app", vm_->name(), "sleep", "77"}).status, 0);
  EXPECT_THAT(fcvm({"top", vm_->name(), "user", "args"}).out, HasSubstr("app         sleep 77"));
}

TEST_F(VerbsTest, StatsAreThoseOfTheContainer) {
  shell(
      "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; dd if=/dev/zero of=/big bs=1M count=4; "
      "sync");
  const std::string table = fcvm({"stats", "--no-stream", vm_->name()}).out;
  EXPECT_THAT(table, testing::StartsWith("ID            NAME"));
  EXPECT_THAT(table, HasSubstr("CPU %       MEM USAGE / LIMIT"));
  EXPECT_THAT(table, HasSubstr(" / 134.2MB"));
  const auto list =
      nlohmann::json::parse(fcvm({"stats", "--no-stream", "--json", vm_->name()}).out);
  ASSERT_EQ(list.size(), 1U);
  EXPECT_EQ(list[0].at("name"), vm_->name());
  EXPECT_GT(list[0].at("cpu_time_us").get<std::uint64_t>(), 10'000U);
  EXPECT_GT(list[0].at("mem_usage_bytes").get<std::uint64_t>(), 4U << 20);
  EXPECT_GE(list[0].at("pids").get<int>(), 2);
  EXPECT_GE(list[0].at("block_output_bytes").get<std::uint64_t>(), 4U << 20);
  EXPECT_GT(list[0].at("vmm_resident_bytes").get<std::uint64_t>(), 16U << 20);
  EXPECT_EQ(fcvm({"stats", "--no-stream", "--format", "{{.Name}} {{.NetIO}}", vm_->name()}).out,
            vm_->name() + " 0B / 0B\n");
  Process stream(fcvm_command({"stats", "-i", "1", "--format", "{{.Name}} {{.CPUPerc}}"}));
  EXPECT_TRUE(stream.wait_for_out("%\n" + vm_->name()));
  EXPECT_EQ(fcvm({"stats", "--no-stream", "no-such-vm"}).status, 125);
}

TEST_F(VerbsTest, PortPrintsNothingWithoutANetwork) {
  EXPECT_EQ(fcvm({"port", vm_->name()}).out, "");
  EXPECT_EQ(fcvm({"port", vm_->name(), "80/tcp"}).status, 0);
  EXPECT_EQ(fcvm({"port", vm_->name(), "80/smtp"}).status, 125);
  EXPECT_EQ(fcvm({"port", "no-such-vm"}).status, 125);
}

TEST_F(VerbsTest, FileAndDirectoryGoInWithOwnerModeAndTime) {
  const std::string file = dir_.write("f1", "one\n");
  ASSERT_EQ(::chmod(file.c_str(), 0640), 0);
  ASSERT_EQ(::chown(file.c_str(), 1000, 33), 0);
  std::filesystem::create_directories(dir_ / "d/sub");
  dir_.write("d/in", "inner\n");
  std::filesystem::create_symlink("in", dir_ / "d/link");
  std::filesystem::create_hard_link(dir_ / "d/in", dir_ / "d/sub/hard");
  const std::string folder = dir_ / "d";

  expect_copied({file, in_vm("/tmp/")});
  EXPECT_EQ(shell("stat -c '%a %u %g' /tmp/f1; cat /tmp/f1"), "640 0 0\none\n");
  expect_copied({file, in_vm("here")});
  EXPECT_EQ(shell("cat /home/app/here"), "one\n");
  expect_copied({"--archive=false", file, in_vm("/tmp/kept")});
  EXPECT_EQ(shell("stat -c '%u %g' /tmp/kept"), "1000 33\n");
  expect_copied({folder, in_vm("/tmp/fresh")});
  EXPECT_EQ(shell("cd /tmp/fresh; cat in link sub/hard; readlink link; stat -c %h in"),
            "inner\ninner\ninner\nin\n2\n");
  expect_copied({folder, in_vm("/tmp/fresh")});
  EXPECT_EQ(shell("cat /tmp/fresh/d/in"), "inner\n");
  const std::string mode = shell("stat -c %a /tmp");
  expect_copied({folder + "/.", in_vm("/tmp")});
  EXPECT_EQ(shell("cat /tmp/in; stat -c %a /tmp"), "inner\n" + mode);
  // A link of the container is followed inside its root.
  shell("ln -s /etc/from-link /tmp/outward; ln -s ../../../../etc /tmp/up");
  expect_copied({file, in_vm("/tmp/outward")});
  expect_copied({file, in_vm("/tmp/up/by-up")});
  EXPECT_EQ(shell("cat /etc/from-link /etc/by-up"), "one\none\n");

  expect_refused({file, in_vm("/no/such/place")}, "No such file or directory");
  expect_refused({file, in_vm("/nodir/")}, "No such file or directory");
  expect_refused({dir_ / "missing", in_vm("/tmp")}, "No such file or directory");
  expect_refused({folder, in_vm("/etc/passwd")}, "destination must be a directory");
  expect_refused({file, dir_ / "f2"}, "VM:PATH");
  expect_refused({in_vm("/a"), in_vm("/b")}, "of this host");
  expect_refused({"no-such-vm:/a", dir_ / "x"}, "no VM with name or ID");
}

TEST_F(VerbsTest, FileAndDirectoryComeOut) {
  shell(
      "mkdir -p /t/sub; echo data > /t/file; chmod 4755 /t/file; chown 5:6 /t/file; "
      "ln -s /etc /t/link; ln /t/file /t/sub/hard; ln -s /etc/hostname /outl");
  const std::string out = dir_ / "out";
  expect_copied({in_vm("/t"), out});
  EXPECT_EQ(read_file(dir_ / "out/file"), "data\n");
  struct stat info {};
  ASSERT_EQ(::stat((out + "/file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755U);
  EXPECT_EQ(info.st_uid, 0U);
  EXPECT_EQ(info.st_nlink, 2U);
  EXPECT_EQ(std::filesystem::read_symlink(dir_ / "out/link"), "/etc");
  expect_copied({in_vm("/t/file"), out + "/named"});
  expect_copied({in_vm("/t"), out});
  EXPECT_EQ(read_file(dir_ / "out/t/sub/hard"), "data\n");
  expect_copied({in_vm("/t/."), dir_ / "contents"});
  EXPECT_EQ(read_file(dir_ / "contents/file"), "data\n");
  // What a link leads to does not choose the name that is written here.
  expect_copied({in_vm("/outl"), out});
  EXPECT_THAT(read_file(dir_ / "out/outl"), testing::Not(""));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out/hostname"));
  shell("mkdir -p /evil/.ssh; echo x > /evil/.ssh/keys; ln -s /evil/.ssh /data");
  expect_copied({in_vm("/data/"), out});
  EXPECT_EQ(read_file(dir_ / "out/data/keys"), "x\n");
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out/.ssh"));
  expect_copied({in_vm("/proc/version"), out});
  EXPECT_THAT(read_file(dir_ / "out/version"), HasSubstr("Linux version"));

  expect_refused({in_vm("/nosuch"), out}, "No such file or directory");
  expect_refused({in_vm("/t"), out + "/named"}, "destination must be a directory");
  expect_refused({in_vm("/t/file"), dir_ / "nodir/x"}, "No such file or directory");
  expect_refused({in_vm("/dev/null"), out}, "device node");
  ASSERT_EQ(::mkfifo((dir_ / "fifo").c_str(), 0600), 0);
  expect_refused({in_vm("/t/file"), dir_ / "fifo"}, "must be a directory or a regular file");
  EXPECT_TRUE(std::filesystem::is_fifo(dir_ / "fifo"));
  expect_refused({dir_ / "out/file", in_vm("/dev/null")}, "must be a directory or a regular file");
  EXPECT_EQ(shell("stat -c %F /dev/null"), "character special file\n");
  // Every place where the end of an archive may be torn apart on its way.
  shell(
      "i=1; while [ $i -le 8 ]; do head -c $((i * 16384 - 1024)) /dev/zero > /end$i; i=$((i+1)); "
      "done");
  for (int i = 1; i <= 8; ++i) expect_copied({in_vm("/end" + std::to_string(i)), out});
}

TEST_F(VerbsTest, ArchiveOnStandardStreams) {
  shell("mkdir -p /a/b; echo 1 > /a/b/one; mkdir -p /into");
  const Outcome archive = fcvm({"cp", in_vm("/a"), "-"});
  ASSERT_EQ(archive.status, 0) << archive.err;
  Command list;
  list.argv = {"tar", "tf", "-"};
  list.input = archive.out;
  EXPECT_EQ(run(std::move(list)).out, "a/\na/b/\na/b/one\n");
  const Outcome in = fcvm({"cp", "-", in_vm("/into")}, archive.out);
  EXPECT_EQ(in.status, 0) << in.err;
  EXPECT_EQ(shell("cat /into/a/b/one"), "1\n");
  // GNU tar's own, with a name that needs its extension.
  const std::string name(120, 'n');
  dir_.write(name, "long\n");
  Command make;
  make.argv = {"tar", "-C", dir_.path(), "-cf", "-", name};
  EXPECT_EQ(fcvm({"cp", "-", in_vm("/into")}, run(std::move(make)).out).status, 0);
  EXPECT_EQ(shell("cat /into/" + name), "long\n");

  const Outcome junk = fcvm({"cp", "-", in_vm("/into")}, "junk\n");
  EXPECT_EQ(junk.status, 125);
  EXPECT_THAT(junk.err, HasSubstr("no tar archive"));
  const Outcome file = fcvm({"cp", "-", in_vm("/etc/passwd")}, archive.out);
  EXPECT_EQ(file.status, 125);
  EXPECT_THAT(file.err, HasSubstr("must be a directory when copying from stdin"));
}

TEST_F(VerbsTest, QuarterOfAGigabyteGoesThroughUnchanged) {
  const std::string file = dir_ / "big";
  Command make;
  make.argv = {"sh", "-c", "head -c 268435456 /dev/urandom > \"$0\"", file};
  ASSERT_EQ(run(std::move(make)).status, 0);
  expect_copied({file, in_vm("/big-in")});
  expect_copied({in_vm("/big-in"), dir_ / "back"});
  Command compare;
  compare.argv = {"cmp", file, dir_ / "back"};
  EXPECT_EQ(run(std::move(compare)).status, 0);
  shell("rm /big-in");
}

TEST_F(VerbsTest, SignalEndsACopyThatTheGuestDoesNotAnswer) {
  dir_.write("half", "here\n");
  Command make;
  make.argv = {"tar", "-C", dir_.path(), "-cf", "-", "half"};
  const std::string archive = run(std::move(make)).out;
  Command command = fcvm_command({"cp", "-", in_vm("/tmp")});
  command.keep_input_open = true;
  Process copy(std::move(command));
  copy.write(archive.substr(0, 1024));  // without its end
  EXPECT_EQ(shell("i=0; until [ -s /tmp/half ] || [ $i -gt 60 ]; do sleep 1; i=$((i+1)); done; "
                  "cat /tmp/half"),
            "here\n");
  EXPECT_EQ(fcvm({"pause", vm_->name()}).status, 0);
  copy.signal(SIGTERM);
  const Outcome outcome = copy.wait();
  EXPECT_EQ(fcvm({"unpause", vm_->name()}).status, 0);
  EXPECT_EQ(outcome.status, 128 + SIGTERM) << outcome;
  EXPECT_FALSE(outcome.timed_out);
}

TEST(VerbsStoppedTest, VmThatDoesNotRunIsRefusedByName) {
  const Vm vm({}, {"true"});
  EXPECT_EQ(fcvm({"wait", vm.name()}).out, "0\n");
  const std::vector<std::vector<std::string>> commands{{"top", vm.name()},
                                                       {"cp", vm.name() + ":/etc", "/nowhere"}};
  for (const auto& command : commands) {
    const Outcome outcome = fcvm(command);
    EXPECT_EQ(outcome.status, 125);
    EXPECT_THAT(outcome.err, HasSubstr("is exited, and only a running one"));
  }
  EXPECT_THAT(fcvm({"stats", "--no-stream", vm.name()}).out, HasSubstr("0B / 0B"));
}

}  // namespace
}  // namespace tests
