// `fcvm podman run`: streams, status and what its flags promise outside the container.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <string>

#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

TEST(SanityTest, StreamsAndStatusOfOneContainerAreExact) {
  const Outcome outcome = fcvm({"podman", "run", "--rm", "--network", "none", busybox(), "sh", "-c",
                                "echo out; echo err >&2; exit 37"});
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_EQ(outcome.err, "err\n");
  EXPECT_EQ(outcome.status, 37);
}

TEST(RunTest, WithoutInteractiveStdinIsEmpty) {
  const Outcome outcome =
      fcvm(run_args({"--rm"}, {"sh", "-c", "cat; echo end of input"}), "not for the container\n");
  EXPECT_EQ(outcome.out, "end of input\n") << outcome;
  EXPECT_EQ(outcome.status, 0);
}

TEST(RunTest, CommandThatIsMissingEndsWith127) {
  const Outcome outcome = run_container({}, {"no-such-program"});
  EXPECT_EQ(outcome.status, 127) << outcome;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, StartsWith("fcvm: "));
  EXPECT_THAT(outcome.err, HasSubstr("no-such-program"));
}

TEST(RunTest, CommandThatIsNotExecutableEndsWith126) {
  const Outcome outcome = run_container({}, {"/etc/passwd"});
  EXPECT_EQ(outcome.status, 126) << outcome;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, StartsWith("fcvm: "));
}

TEST(RunTest, FullDiskBehindStdoutIsNoSuccess) {
  Command command;
  command.argv = {"sh", "-c", "exec \"$@\" > /dev/full", "sh"};
  for (const std::string& word : fcvm_argv(run_args({"--rm"}, {"echo", "out"}))) {
    command.argv.push_back(word);
  }
  const Outcome outcome = run(command);
  EXPECT_EQ(outcome.status, 125) << outcome;
  EXPECT_EQ(outcome.err,
            "fcvm: podman run: writing the container's output: No space left on device\n");
}

TEST(RunTest, DeathBySignalEndsWith128PlusIt) {
  const std::string name = unique_name("signal");
  const RemoveAtEnd remove(name);
  Process attached(
      fcvm_command(run_args({"--rm", "--name", name}, {"sh", "-c", "echo up; exec sleep 1000"})));
  ASSERT_TRUE(attached.wait_for_out("up")) << attached.err();
  // One that the first process of a pid namespace cannot ignore.
  EXPECT_EQ(fcvm({"kill", "-s", "KILL", name}).status, 0);
  const Outcome outcome = attached.wait();
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome;
  EXPECT_EQ(outcome.err, "");
}

TEST(RunTest, InterruptGoesToTheContainer) {
  Process attached(fcvm_command(run_args({"--rm"}, {"sh", "-c",
                                                    "trap 'echo interrupted; exit 9' INT; echo up; "
                                                    "while :; do sleep 1000 & wait $!; done"})));
  ASSERT_TRUE(attached.wait_for_out("up")) << attached.err();
  attached.signal(SIGINT);
  const Outcome outcome = attached.wait();
  EXPECT_EQ(outcome.out, "up\ninterrupted\n") << outcome;
  EXPECT_EQ(outcome.status, 9);
}

TEST(RunTest, DetachedPrintsTheIdAndFlagsAreInInspect) {
  const TempDir dir;
  const std::string cidfile = dir / "cid";
  const Vm vm({"--cidfile", cidfile, "--label", "a=b", "--label", "empty", "--hostname", "box",
               "--workdir", "/var", "-e", "X=y", "--stop-signal", "INT", "--stop-timeout", "3"});
  EXPECT_EQ(vm.id().size(), 64U);
  EXPECT_EQ(read_file(cidfile), vm.id());
  EXPECT_EQ(inspect(vm.name(), "/Id"), vm.id());
  EXPECT_EQ(inspect(vm.id().substr(0, 12), "/Name"), vm.name());
  EXPECT_EQ(inspect(vm.name(), "/Config/Labels/a"), "b");
  EXPECT_EQ(inspect(vm.name(), "/Config/Labels/empty"), "");
  EXPECT_EQ(inspect(vm.name(), "/Config/Hostname"), "box");
  EXPECT_EQ(inspect(vm.name(), "/Config/WorkingDir"), "/var");
  EXPECT_EQ(inspect(vm.name(), "/Config/StopSignal"), std::to_string(SIGINT));
  EXPECT_EQ(inspect(vm.name(), "/Config/StopTimeout"), "3");
  EXPECT_THAT(inspect(vm.name(), "/Config/Env"), HasSubstr("\"X=y\""));
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "running");
  EXPECT_EQ(inspect(vm.name(), "/HostConfig/Memory"), std::to_string(128 << 20));

  // A cidfile that is there already belongs to another container.
  const Outcome again = run_container({"--cidfile", cidfile}, {"true"});
  EXPECT_EQ(again.status, 125);
  EXPECT_THAT(again.err, HasSubstr(cidfile));
  EXPECT_EQ(read_file(cidfile), vm.id());
}

TEST(RunTest, MemoryAndCpusAreTheGuests) {
  const Outcome outcome = fcvm({"podman", "run", "--rm", "--engine", engine(), "--network", "none",
                                "--cpus", "2", "--memory", "256m", busybox(), "sh", "-c",
                                "nproc; awk '/MemTotal/ {print $2}' /proc/meminfo"});
  ASSERT_EQ(outcome.status, 0) << outcome;
  int cpus = 0;
  int kib = 0;
  ASSERT_EQ(std::sscanf(outcome.out.c_str(), "%d %d", &cpus, &kib), 2) << outcome;
  EXPECT_EQ(cpus, 2);
  EXPECT_LE(kib, 256 * 1024);
  EXPECT_GE(kib, 192 * 1024);
}

TEST(RunTest, DiskOfTheUsersKeepsWhatTheContainerWrote) {
  const TempDir directory;
  const std::string disk = directory / "data.ext4";
  Command mke2fs;
  mke2fs.argv = {"mke2fs", "-q", "-t", "ext4", disk, "16M"};
  ASSERT_EQ(run(mke2fs).status, 0);
  const Outcome first =
      run_container({"--disk", disk + ":/data"},
                    {"sh", "-c", "echo kept > /data/file; grep -c /data /proc/mounts"});
  EXPECT_EQ(first.out, "1\n") << first;
  EXPECT_EQ(first.status, 0);
  const Outcome second =
      run_container({"--disk", disk + ":/data:ro"},
                    {"sh", "-c", "cat /data/file; touch /data/x 2>/dev/null; echo $?"});
  EXPECT_EQ(second.out, "kept\n1\n") << second;
}

TEST(RunTest, TimingsGoToStderrOnly) {
  const Outcome outcome = run_container({"--timings"}, {"echo", "out"});
  EXPECT_EQ(outcome.status, 0);
  EXPECT_EQ(outcome.out, "out\n");
  EXPECT_THAT(outcome.err, HasSubstr("ms"));
}

TEST(RunTest, AServiceOfSeveralProcessesAnswers) {
  const std::string name = unique_name("nginx");
  const RemoveAtEnd remove(name);
  const Outcome started = fcvm({"podman", "run", "-d", "--engine", engine(), "--network", "none",
                                "--name", name, image_reference("nginx")});
  ASSERT_EQ(started.status, 0) << started;
  const Outcome page =
      fcvm({"exec", name, "sh", "-c",
            "until wget -qO- http://127.0.0.1/healthz 2> /dev/null; do usleep 100000; done"});
  EXPECT_EQ(page.out, "healthy\n") << page;
  // The image's own stop signal, SIGQUIT, which nginx takes for a graceful end.
  EXPECT_EQ(fcvm({"stop", name}).status, 0);
  EXPECT_EQ(inspect(name, "/State/ExitCode"), "0");
}

}  // namespace
}  // namespace tests
