#include "cli/run_flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

vm::RunOptions parse(const std::vector<std::string>& words) {
  RunFlags flags;
  Options options;
  flags.declare(options);
  return flags.finish(options.parse(words, Order::kBeforeArguments),
                      {"HOME=/root", "LANG=C", "LC_ALL=C"});
}

std::string error_of(std::vector<std::string> words) {
  words.push_back("image");
  try {
    parse(words);
    return "";
  } catch (const base::Error& error) {
    return error.what();
  }
}

TEST(RunFlagsTest, ImageAndCommandAreTakenAsTheyAre) {
  const auto run = parse({"--rm", "image", "sh", "-c", "echo --rm"});
  EXPECT_TRUE(run.remove);
  EXPECT_EQ(run.image, "image");
  EXPECT_THAT(run.command, ElementsAre("sh", "-c", "echo --rm"));
}

TEST(RunFlagsTest, KernelArgumentsAreText) {
  EXPECT_EQ(parse({"--kernel-args", "a=\xc3\xa9 b", "image"}).kernel_args, "a=\xc3\xa9 b");
  EXPECT_THAT(error_of({"--kernel-args", "a=\xff"}), HasSubstr("--kernel-args"));
}

TEST(RunFlagsTest, DefaultsAreThoseOfThisVersion) {
  const auto run = parse({"image"});
  EXPECT_EQ(run.cpus, 2);
  EXPECT_EQ(run.memory_bytes, 512ULL << 20);
  EXPECT_FALSE(run.engine);
  EXPECT_EQ(run.network, vm::NetworkMode::kNone);
  EXPECT_FALSE(run.snapshot_auto);
  EXPECT_EQ(run.detach_keys, "\x10\x11");
}

TEST(RunFlagsTest, MissingImageIsNamed) {
  EXPECT_THROW(parse({"--rm"}), base::Error);
}

TEST(RunFlagsTest, FlagsReachTheirOptions) {
  const auto run = parse({"-dit",
                          "--name",
                          "web",
                          "-m",
                          "1g",
                          "--cpus=1.5",
                          "--ulimit",
                          "nofile=10:20",
                          "--cap-add",
                          "A,B",
                          "--cap-drop",
                          "ALL",
                          "--tmpfs",
                          "/run",
                          "--entrypoint",
                          R"(["a","b"])",
                          "-w",
                          "/var",
                          "-u",
                          "1000:1000",
                          "--hostname",
                          "box",
                          "-l",
                          "a=b",
                          "--add-host",
                          "x:1.2.3.4",
                          "--stop-signal",
                          "INT",
                          "--stop-timeout",
                          "3",
                          "--read-only",
                          "--init",
                          "--privileged",
                          "--kernel",
                          "/k",
                          "--timings",
                          "image"});
  EXPECT_TRUE(run.detach && run.interactive && run.tty);
  EXPECT_EQ(run.name, "web");
  EXPECT_EQ(run.memory_bytes, 1ULL << 30);
  EXPECT_EQ(run.cpus, 2);
  EXPECT_THAT(run.ulimits, ElementsAre(vm::Ulimit{"nofile", 10, 20}));
  EXPECT_THAT(run.cap_add, ElementsAre("A", "B"));
  EXPECT_THAT(run.cap_drop, ElementsAre("ALL"));
  EXPECT_EQ(run.tmpfs.at(0).target, "/run");
  EXPECT_THAT(run.entrypoint.value(), ElementsAre("a", "b"));
  EXPECT_EQ(run.workdir, "/var");
  EXPECT_EQ(run.user, "1000:1000");
  EXPECT_EQ(run.hostname, "box");
  EXPECT_THAT(run.labels, ElementsAre(Pair("a", "b")));
  EXPECT_EQ(run.add_hosts.at(0).ip, "1.2.3.4");
  EXPECT_EQ(run.stop_signal, SIGINT);
  EXPECT_EQ(run.stop_timeout.count(), 3);
  EXPECT_TRUE(run.read_only && run.init && run.privileged && run.timings);
  EXPECT_EQ(run.kernel, "/k");
}

TEST(RunFlagsTest, EmptyEntrypointClearsTheImages) {
  EXPECT_THAT(parse({"--entrypoint=", "image"}).entrypoint.value(), ElementsAre());
  EXPECT_FALSE(parse({"image"}).entrypoint.has_value());
}

TEST(RunFlagsTest, VariablesBeatFilesWhateverTheirOrder) {
  const tests::TempDir temp;
  const std::string file = temp.write("env", "# comment\nA=file\nB=file\n\nLANG\n");
  EXPECT_THAT(
      parse({"-e", "A=flag", "--env-file", file, "-e", "HOME", "-e", "NOT_SET", "image"}).env,
      ElementsAre(Pair("A", "flag"), Pair("B", "file"), Pair("HOME", "/root"), Pair("LANG", "C")));
}

TEST(RunFlagsTest, MissingEnvironmentFileIsNamed) {
  EXPECT_THAT(error_of({"--env-file", "/no/such/file"}), HasSubstr("/no/such/file"));
}

TEST(RunFlagsTest, WhatThisVersionLacksIsRefusedByName) {
  for (const auto& [flag, value] : std::vector<std::pair<std::string, std::string>>{
           {"--network", "bridged"},
           {"--network", "rootless"},
           {"--publish", "80:80"},
           {"--dns", "1.1.1.1"},
           {"--dns-search", "x"},
           {"--network-allow", "x"},
           {"--rootless-backend", "pasta"},
           {"--map", "/a:/b"},
           {"--map-uid", "0:0:1"},
           {"--hypervisor", "firecracker"},
           {"--snapshot", "auto"},
           {"--health-url", "http://x"},
           {"--log-opt", "max-size=1m"},
       }) {
    const std::string error = error_of({flag, value});
    EXPECT_THAT(error, HasSubstr(flag + ": this version has no")) << flag;
  }
}

TEST(RunFlagsTest, TheirHarmlessValuesAreTaken) {
  EXPECT_EQ(error_of({"--network", "none", "--engine", "crun", "--hypervisor", "qemu", "--snapshot",
                      "off", "--restart", "no", "--health-cmd", "none", "--log-driver", "k8s-file",
                      "--pull", "never"}),
            "");
}

TEST(RunFlagsTest, MalformedValuesNameTheirFlag) {
  for (const auto& [flag, value] : std::vector<std::pair<std::string, std::string>>{
           {"--network", "carrier-pigeon"},
           {"--publish", "80:http"},
           {"--map", "nothing"},
           {"--engine", "steam"},
           {"--snapshot", "maybe"},
           {"--memory", "much"},
           {"--memory", "1m"},
           {"--cpus", "0"},
           {"--cpuset-cpus", "8000"},
           {"--name", "a/b"},
           {"--log-driver", "journald"},
           {"--env", "=x"},
       }) {
    EXPECT_THAT(error_of({flag, value}), ::testing::StartsWith(flag + ": ")) << flag;
  }
}

TEST(RunFlagsTest, RestartExcludesRemoval) {
  EXPECT_THAT(error_of({"--rm", "--restart", "always"}), HasSubstr("conflicts with --restart"));
  EXPECT_EQ(error_of({"--rm", "--restart", "no"}), "");
  EXPECT_EQ(error_of({"--restart", "on-failure:3"}), "");
  EXPECT_THAT(error_of({"--restart", "always:3"}), HasSubstr("only on-failure takes a number"));
}

TEST(RunFlagsTest, HealthFlagsAreChecked) {
  EXPECT_EQ(error_of({"--health-cmd", "true", "--health-interval", "3s", "--health-retries", "2",
                      "--health-timeout", "1s", "--health-start-period", "1m"}),
            "");
  EXPECT_EQ(error_of({"--health-interval", "disable"}), "");
  EXPECT_EQ(error_of({"--no-healthcheck"}), "");
  EXPECT_THAT(error_of({"--health-cmd", "true", "--no-healthcheck"}), HasSubstr("exclude"));
  EXPECT_THAT(error_of({"--health-timeout", "10ms"}), HasSubstr("at least a second"));
  EXPECT_THAT(error_of({"--health-retries", "0"}), HasSubstr("from 1"));
  EXPECT_THAT(error_of({"--health-interval", "often"}), HasSubstr("--health-interval"));
}

TEST(RunFlagsTest, BalloonAsLargeAsTheMemoryIsRefused) {
  EXPECT_THAT(error_of({"-m", "128m", "--balloon", "128m"}), HasSubstr("--balloon"));
}

}  // namespace
}  // namespace cli
