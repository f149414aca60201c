// What a user may get wrong: one clear line on stderr, status 125, nothing left behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "storage/data_directory.h"
#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_image.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// One line, and where a user can act a hint on a second.
void expect_one_clear_line(const Outcome& outcome, const std::string& what_is_named,
                           const std::string& out = "") {
  EXPECT_EQ(outcome.status, 125) << outcome;
  EXPECT_EQ(outcome.out, out) << outcome;
  EXPECT_THAT(outcome.err, StartsWith("fcvm: "));
  EXPECT_THAT(outcome.err, HasSubstr(what_is_named));
  const auto lines = std::count(outcome.err.begin(), outcome.err.end(), '\n');
  EXPECT_GE(lines, 1) << outcome;
  EXPECT_LE(lines, 2) << outcome;
  EXPECT_LT(outcome.err.find('\n'), 400U) << outcome;
}

struct Case {
  const char* name;
  std::vector<std::string> args;
  std::string what_is_named;
  std::string out = "";
};

void PrintTo(const Case& row, std::ostream* out) {
  *out << row.name;
}

// `podman run FLAGS… busybox true`.
Case run_case(const char* name, const std::vector<std::string>& flags,
              const std::string& what_is_named) {
  return {name, run_args(flags, {"true"}), what_is_named};
}

std::vector<Case> cases() {
  return {
      {"NoCommand", {"no-such-command"}, "no-such-command"},
      {"UnknownGlobalFlag", {"--no-such-flag", "ls"}, "no-such-flag"},
      {"UnknownFlagOfLs", {"ls", "--no-such-flag"}, "no-such-flag"},
      {"UnknownFlagOfRun", {"podman", "run", "--no-such-flag", "image"}, "no-such-flag"},
      {"PodmanWithoutVerb", {"podman", "no-such-verb"}, "no-such-verb"},
      {"RunWithoutImage", {"podman", "run", "--rm"}, "IMAGE"},
      {"ExecWithoutCommand", {"exec", "no-such-vm"}, "exec"},

      {"ExecInUnknownVm", {"exec", "no-such-vm", "true"}, "no-such-vm"},
      {"LogsOfUnknownVm", {"logs", "no-such-vm"}, "no-such-vm"},
      {"WaitForUnknownVm", {"wait", "no-such-vm"}, "no-such-vm"},
      {"StopOfUnknownVm", {"stop", "no-such-vm"}, "no-such-vm"},
      {"KillOfUnknownVm", {"kill", "no-such-vm"}, "no-such-vm"},
      {"RmOfUnknownVm", {"rm", "no-such-vm"}, "no-such-vm"},
      {"InspectOfUnknownVm", {"inspect", "no-such-vm"}, "no-such-vm", "[]\n"},
      {"KillWithUnknownSignal", {"kill", "-s", "NOSUCH", "no-such-vm"}, "NOSUCH"},
      {"StopWithMalformedTimeout", {"stop", "-t", "soon", "no-such-vm"}, "soon"},
      {"LsWithUnknownFilter", {"ls", "--filter", "colour=red"}, "colour"},

      {"ImageFileMissing",
       {"podman", "run", "oci-archive:/no/such/file.tar", "true"},
       "/no/such/file.tar"},
      {"ImageTransportUnknown",
       {"podman", "run", "no-such-transport:x:y:z", "true"},
       "no-such-transport"},
      {"ImageReferenceMalformed", {"podman", "run", "UPPER CASE", "true"}, "UPPER CASE"},

      run_case("MemoryMalformed", {"-m", "much"}, "much"),
      run_case("MemoryTooSmall", {"-m", "1m"}, "memory"),
      run_case("MemoryNegative", {"-m", "-5m"}, "-5m"),
      run_case("CpusZero", {"--cpus", "0"}, "cpus"),
      run_case("CpusMalformed", {"--cpus", "two"}, "two"),
      run_case("NameMalformed", {"--name", "a/b"}, "a/b"),
      run_case("NameTooLong", {"--name", std::string(64, 'a')}, "name"),
      run_case("NameBeginsWithADash", {"--name", "-x"}, "-x"),
      run_case("HostnameMalformed", {"--hostname", "a b"}, "a b"),
      run_case("NetworkModeUnknown", {"--network", "carrier-pigeon"}, "carrier-pigeon"),
      run_case("NetworkModeBridged", {"--network", "bridged"}, "bridged"),
      run_case("NetworkModeRootless", {"--network", "rootless"}, "rootless"),
      run_case("PublishMalformed", {"-p", "80:http"}, "80:http"),
      run_case("VolumeMalformed", {"-v", "nothing"}, "nothing"),
      run_case("VolumeNotThere", {"--map", "/etc:/x"}, "map"),
      run_case("TmpfsRelative", {"--tmpfs", "relative"}, "relative"),
      run_case("UlimitUnknown", {"--ulimit", "nosuch=1"}, "nosuch"),
      run_case("UlimitMalformed", {"--ulimit", "nofile=many"}, "many"),
      run_case("CapabilityUnknown", {"--cap-add", "NO_SUCH"}, "NO_SUCH"),
      run_case("EnvMalformed", {"-e", "=x"}, "=x"),
      run_case("EnvFileMissing", {"--env-file", "/no/such/env"}, "/no/such/env"),
      run_case("StopSignalUnknown", {"--stop-signal", "NOSUCH"}, "NOSUCH"),
      run_case("StopTimeoutMalformed", {"--stop-timeout", "soon"}, "soon"),
      run_case("RestartUnknown", {"--restart", "sometimes"}, "sometimes"),
      run_case("PullUnknown", {"--pull", "perhaps"}, "perhaps"),
      run_case("EngineUnknown", {"--engine", "steam"}, "steam"),
      run_case("HypervisorUnknown", {"--hypervisor", "nosuch"}, "nosuch"),
      run_case("HypervisorNotInThisBuild", {"--hypervisor", "firecracker"}, "firecracker"),
      run_case("AccelUnknown", {"--accel", "warp"}, "warp"),
      run_case("KernelMissing", {"--kernel", "/no/such/kernel"}, "/no/such/kernel"),
      run_case("KernelIsNoKernel", {"--kernel", "/etc/passwd"}, "/etc/passwd"),
      run_case("UserUnknown", {"-u", "nobody-of-that-name"}, "nobody-of-that-name"),
      run_case("AddHostMalformed", {"--add-host", "no-address"}, "no-address"),
      run_case("DetachKeysMalformed", {"--detach-keys", "ctrl-"}, "ctrl-"),
      run_case("CidfileInNoDirectory", {"--cidfile", "/no/such/directory/cid"},
               "/no/such/directory/cid"),
      run_case("RemoveAndRestart", {"--rm", "--restart", "always"}, "restart"),
      run_case("CpusetOfNoCpu", {"--cpuset-cpus", "4000"}, "4000"),
      run_case("RootfsSizeMalformed", {"--rootfs-size", "huge"}, "huge"),
  };
}

class BadInputTest : public testing::TestWithParam<Case> {};

TEST_P(BadInputTest, OneClearLineAndNothingLeft) {
  const LeakCheck before;
  const Outcome outcome = fcvm(GetParam().args);
  expect_one_clear_line(outcome, GetParam().what_is_named, GetParam().out);
  EXPECT_EQ(before.diff(), "");
}

std::string name_of(const testing::TestParamInfo<Case>& row) {
  return row.param.name;
}

INSTANTIATE_TEST_SUITE_P(Table, BadInputTest, testing::ValuesIn(cases()), name_of);

TEST(BadInputOfFilesTest, ArchiveThatIsNoneIsRefused) {
  const TempDir dir;
  const std::string text = dir.write("text.tar", "this is no archive\n");
  const std::string empty = dir.write("empty.tar", "");
  const std::string whole = read_file(images_dir() / "busybox.oci.tar");
  const std::string torn = dir.write("torn.tar", whole.substr(0, whole.size() / 2));
  const LeakCheck before;
  for (const std::string& file : {text, empty, torn}) {
    expect_one_clear_line(fcvm(run_args({"--rm"}, {"true"}, "oci-archive:" + file)), file);
  }
  EXPECT_EQ(before.diff(), "");
}

TEST(BadInputOfFilesTest, LayerWhoseDigestDoesNotFitIsRefused) {
  const TempDir dir;
  const ImageDisksRestored restore;
  const std::string image = make_test_image(dir.path(), unique_name("altered"));
  std::filesystem::path layer;
  for (const auto& blob :
       std::filesystem::directory_iterator(dir / "layout" / "blobs" / "sha256")) {
    if (layer.empty() || blob.file_size() > std::filesystem::file_size(layer)) {
      layer = blob.path();
    }
  }
  std::string bytes = read_file(layer);
  bytes[bytes.size() / 2] = static_cast<char>(~bytes[bytes.size() / 2]);
  dir.write("altered", bytes);
  std::filesystem::rename(dir / "altered", layer);
  const LeakCheck before;
  expect_one_clear_line(fcvm(run_args({"--rm"}, {"true"}, image)), "layout");
  EXPECT_EQ(restore.count(), 0U);
  EXPECT_EQ(before.diff(), "");
}

TEST(BadInputOfFilesTest, DataDirectoryWithoutAssetsNamesSetup) {
  const TempDir dir;
  const LeakCheck before;
  Command command;
  command.argv = {(bin_dir() / "fcvm").string(), "--data-dir", dir / "data"};
  for (const std::string& arg : run_args({"--rm"}, {"true"})) {
    command.argv.push_back(arg);
  }
  const Outcome outcome = run(std::move(command));
  expect_one_clear_line(outcome, "fcvm setup");
  EXPECT_EQ(before.diff(), "");
}

// A small file system with what `fcvm setup` made, mounted as long as the object lives.
class SmallDataDirectory {
 public:
  SmallDataDirectory() {
    const std::string file = dir_ / "fs";
    std::filesystem::create_directory(path());
    shell("truncate -s 400M " + file + " && mkfs.btrfs -q " + file + " && mount -o loop " + file +
          " " + path());
    for (const char* part : {".fcvm-data", "kernels", "initramfs", "rootfs"}) {
      shell("cp -a --sparse=always " + (data_dir() / part).string() + " " + path());
    }
  }
  ~SmallDataDirectory() {
    const std::string run = storage::DataDirectory(path()).run();
    shell("umount " + path() + " && rm -rf " + run + " " + run + ".lock");
  }
  std::string path() const { return dir_ / "data"; }

 private:
  static void shell(const std::string& script) {
    Command command;
    command.argv = {"sh", "-c", script};
    const Outcome outcome = run(std::move(command));
    EXPECT_EQ(outcome.status, 0) << script << ": " << outcome;
  }

  TempDir dir_;
};

TEST(BadInputOfFilesTest, FullDiskIsNamedAndNothingIsLeft) {
  FCVM_REQUIRE(root);
  const TempDir dir;
  const std::string image = make_test_image(dir.path(), unique_name("big"), 300 << 20);
  const SmallDataDirectory data;
  {
    const LeakCheck before(data.path());
    Command command;
    command.argv = {(bin_dir() / "fcvm").string(), "--data-dir", data.path()};
    for (const std::string& arg : run_args({"--rm"}, {"true"}, image)) {
      command.argv.push_back(arg);
    }
    expect_one_clear_line(run(std::move(command)), "does not fit");
    EXPECT_EQ(before.diff(), "");
  }
}

TEST(BadInputOfFilesTest, ConfigFileThatIsNoJsonIsRefused) {
  const TempDir dir;
  const std::string file = dir.write("config.json", "{ not json");
  Command command;
  command.argv = {(bin_dir() / "fcvm").string(), "--config", file, "ls"};
  expect_one_clear_line(run(std::move(command)), file);
}

}  // namespace
}  // namespace tests
