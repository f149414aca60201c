// The whole of fcvm by somebody without privileges: a data directory of their own, sparse copies, no
// loop mount, root's assets where there are none of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "storage/reflink.h"
#include "tests/support/fcvm.h"
#include "tests/support/ordinary_user.h"
#include "tests/support/test_image.h"

namespace tests {
namespace {

namespace fs = std::filesystem;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

const std::vector<std::string> kNoSystemAssets = {"FCVM_SYSTEM_DATA_DIR=/nonexistent"};

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// Every file of root's assets with its size and time of change.
std::map<std::string, std::string> assets_of_root() {
  std::map<std::string, std::string> files;
  for (const char* folder : {"kernels", "rootfs", "initramfs"}) {
    for (const auto& entry : fs::recursive_directory_iterator(data_dir() / folder)) {
      struct stat info {};
      ::lstat(entry.path().c_str(), &info);
      std::ostringstream text;
      text << info.st_size << ' ' << info.st_mode << ' ' << info.st_ctim.tv_sec << '.'
           << info.st_ctim.tv_nsec;
      files[entry.path().string()] = text.str();
    }
  }
  return files;
}

// One user for the suite, so that their image is made once; each test leaves nothing.
class OrdinaryUserTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    user_ = std::make_unique<OrdinaryUser>(OrdinaryUser::Ids::kRange);
    assets_ = assets_of_root();
    first_ = user_->fcvm(user_->run_args({"--rm"}, {"sh", "-c", "echo out; echo err >&2; exit 3"}));
  }
  static void TearDownTestSuite() { user_.reset(); }

  void SetUp() override { before_ = std::make_unique<LeakCheck>(user_->directory()); }
  void TearDown() override {
    EXPECT_EQ(before_->diff(), "");
    EXPECT_EQ(user_->remains(), "");
    before_.reset();
  }

  Outcome run_container(const std::vector<std::string>& command) {
    return user_->fcvm(user_->run_args({"--rm"}, command));
  }
  // At a JSON pointer of `inspect`.
  std::string inspect(const std::string& name, const std::string& pointer) {
    const auto document = nlohmann::json::parse(user_->fcvm({"inspect", name}).out, nullptr, false);
    const nlohmann::json::json_pointer where("/0" + pointer);
    return document.contains(where) ? document.at(where).dump() : "";
  }
  // A VM whose container says "ready" and ends with 4 on SIGTERM.
  void start(const std::string& name) {
    const Outcome started = user_->fcvm(
        user_->run_args({"-d", "--name", name}, Vm::sleeping_command("TERM", "exit 4")));
    ASSERT_EQ(started.status, 0) << started;
    Process follow(user_->command({"logs", "-f", name}));
    ASSERT_TRUE(follow.wait_for_out("ready\n")) << follow.err();
  }

  static std::unique_ptr<OrdinaryUser> user_;
  static std::map<std::string, std::string> assets_;
  static Outcome first_;
  std::unique_ptr<LeakCheck> before_;
};
std::unique_ptr<OrdinaryUser> OrdinaryUserTest::user_;
std::map<std::string, std::string> OrdinaryUserTest::assets_;
Outcome OrdinaryUserTest::first_;

TEST_F(OrdinaryUserTest, FirstRunNeedsNoSetupAndWarnsOnce) {
  EXPECT_EQ(first_.status, 3) << first_;
  EXPECT_EQ(first_.out, "out\n");
  EXPECT_THAT(first_.err, EndsWith("err\n"));
  const bool reflinks = storage::supports_reflink(user_->home());
  EXPECT_EQ(count_of(first_.err, "fcvm: warning: "), reflinks ? 0U : 1U) << first_;
  EXPECT_EQ(count_of(first_.err, "without reflinks"), reflinks ? 0U : 1U) << first_;

  const Outcome second = run_container({"sh", "-c", "echo out; echo err >&2; exit 4"});
  EXPECT_EQ(second.status, 4);
  EXPECT_EQ(second.out, "out\n");
  EXPECT_EQ(second.err, "err\n");
}

TEST_F(OrdinaryUserTest, EverythingIsWhereItBelongsAndRootsAssetsAreUntouched) {
  EXPECT_EQ(run_container({"true"}).status, 0);
  EXPECT_EQ(assets_of_root(), assets_);
  EXPECT_TRUE(fs::exists(user_->data() + "/images"));
  EXPECT_FALSE(fs::exists(user_->data() + "/kernels/vmlinux.bin"));
  EXPECT_FALSE(fs::exists(user_->data() + "/rootfs/base.ext4"));
  EXPECT_FALSE(fs::exists(user_->data() + ".btrfs"));
  for (const std::string& folder : {user_->data(), user_->runtime() + "/fcvm"}) {
    struct stat info {};
    ASSERT_EQ(::stat(folder.c_str(), &info), 0) << folder;
    EXPECT_EQ(info.st_mode & 0777, 0700U) << folder;
    EXPECT_EQ(info.st_uid, user_->uid()) << folder;
  }
}

TEST_F(OrdinaryUserTest, DetachedVmIsUsedAndRemoved) {
  start("web");
  EXPECT_THAT(user_->fcvm({"ls"}).out, HasSubstr("web"));
  EXPECT_EQ(inspect("web", "/State/Status"), "\"running\"");

  const Outcome exec = user_->fcvm({"exec", "web", "sh", "-c", "echo in; echo err >&2; exit 7"});
  EXPECT_EQ(exec.status, 7);
  EXPECT_EQ(exec.out, "in\n");
  EXPECT_EQ(exec.err, "err\n");

  const std::string vmm = "/proc/" + inspect("web", "/State/Pid");
  struct stat info {};
  ASSERT_EQ(::stat(vmm.c_str(), &info), 0) << vmm;
  EXPECT_EQ(info.st_uid, user_->uid());
  for (const auto& entry : fs::directory_iterator(user_->data() + "/state")) {
    if (entry.path().extension() != ".json") continue;
    ASSERT_EQ(::stat(entry.path().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U) << entry.path();
  }
  for (const auto& entry : fs::directory_iterator(user_->data() + "/vm-disks")) {
    const std::string disk = entry.path() / "disk.raw";
    EXPECT_LT(storage::allocated_bytes(disk), fs::file_size(disk) / 4) << "it is no sparse copy";
  }

  EXPECT_EQ(user_->fcvm({"stop", "web"}).status, 0);
  EXPECT_EQ(user_->fcvm({"wait", "web"}).out, "4\n");
  EXPECT_EQ(user_->fcvm({"logs", "web"}).out, "ready\n");
  EXPECT_EQ(user_->fcvm({"rm", "web"}).status, 0);
  EXPECT_THAT(user_->fcvm({"ls", "-a"}).out, Not(HasSubstr("web")));
}

TEST_F(OrdinaryUserTest, VmIsSavedAndCloned) {
  start("web");
  Outcome outcome = user_->fcvm({"snapshot", "create", "--tag", "warm", "web"});
  ASSERT_EQ(outcome.status, 0) << outcome;
  struct stat info {};
  ASSERT_EQ(::stat((user_->data() + "/snapshots/warm/memory.bin").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  outcome = user_->fcvm({"snapshot", "run", "--snapshot", "warm", "--name", "c1", "-d"});
  EXPECT_EQ(outcome.status, 0) << outcome;
  outcome = user_->fcvm({"exec", "c1", "hostname"});
  EXPECT_EQ(outcome.out, inspect("c1", "/Id").substr(1, 12) + "\n") << outcome;
  EXPECT_EQ(user_->fcvm({"rm", "-f", "c1", "web"}).status, 0);
  outcome = user_->fcvm({"snapshot", "rm", "warm"});
  EXPECT_EQ(outcome.status, 0) << outcome;
}

TEST_F(OrdinaryUserTest, StreamsAreExact) {
  std::string bytes(1 << 20, '\0');
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
  Command command = user_->command(user_->run_args({"--rm", "-i"}, {"cat"}));
  command.input = bytes;
  const Outcome outcome = run(std::move(command));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_TRUE(outcome.out == bytes) << outcome.out.size();
}

// `uid:gid` of a file of the image that is not root's, as the container sees it.
Outcome owner_of_seed(const OrdinaryUser& user) {
  const fs::path folder = user.directory() / "image";
  const std::string image = make_test_image(folder, unique_name("owners"));
  Command readable;
  readable.argv = {"chmod", "-R", "a+rX", folder.string()};
  run(std::move(readable));
  std::vector<std::string> args = user.run_args({"--rm"}, {});
  args.back() = image;
  args.insert(args.end(), {"/bin/busybox", "stat", "-c", "%u:%g", "/etc/seed"});
  return user.fcvm(args);
}

TEST_F(OrdinaryUserTest, OwnersOfTheImagesFilesAreKept) {
  const Outcome outcome = owner_of_seed(*user_);
  EXPECT_EQ(outcome.out, "1000:50\n") << outcome;
  EXPECT_EQ(outcome.err, "");
}

TEST_F(OrdinaryUserTest, KilledMonitorIsFoundByTheNextCommand) {
  start("crash");
  const int monitor = std::stoi(inspect("crash", "/State/MonitorPid"));
  const int vmm = std::stoi(inspect("crash", "/State/Pid"));
  ASSERT_EQ(::kill(monitor, SIGKILL), 0);
  EXPECT_TRUE(wait_for_end_of(vmm));
  EXPECT_THAT(user_->fcvm({"ls", "-a"}).out, HasSubstr("Exited (137)"));
  EXPECT_EQ(user_->fcvm({"rm", "crash"}).status, 0);
}

TEST_F(OrdinaryUserTest, OtherUsersGetNothing) {
  start("mine");
  const OrdinaryUser other(OrdinaryUser::Ids::kSingle, user_->uid() + 1);
  const Outcome ls = other.fcvm({"--data-dir", user_->data(), "ls"});
  EXPECT_EQ(ls.status, 125) << ls;
  EXPECT_THAT(ls.err, HasSubstr("Permission denied"));
  EXPECT_EQ(ls.out, "");
  EXPECT_EQ(user_->fcvm({"rm", "-f", "mine"}).status, 0);
}

TEST_F(OrdinaryUserTest, DoctorSaysThatTheyCanRun) {
  const Outcome doctor = user_->fcvm({"doctor", "--json"});
  EXPECT_EQ(doctor.status, 0) << doctor;
  EXPECT_TRUE(nlohmann::json::parse(doctor.out).at("can_run").get<bool>());
}

TEST(OrdinaryUserAloneTest, WithoutAnyAssetsTheyAreToldToRunSetup) {
  const OrdinaryUser user(OrdinaryUser::Ids::kRange);
  const LeakCheck before(user.directory());
  const Outcome outcome = user.fcvm(user.run_args({"--rm"}, {"true"}), kNoSystemAssets);
  EXPECT_EQ(outcome.status, 125) << outcome;
  EXPECT_EQ(outcome.out, "");
  EXPECT_THAT(outcome.err, HasSubstr("fcvm setup"));
  EXPECT_FALSE(fs::exists(user.data()));
  EXPECT_EQ(before.diff(), "");
}

TEST(OrdinaryUserAloneTest, WithoutARangeOfIdsFilesAreRootsAndAWarningSaysSo) {
  const OrdinaryUser user(OrdinaryUser::Ids::kSingle);
  const LeakCheck before(user.directory());
  const Outcome outcome = owner_of_seed(user);
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_EQ(outcome.out, "0:0\n");
  EXPECT_THAT(outcome.err, HasSubstr("/etc/subuid"));
  EXPECT_EQ(before.diff(), "");
  EXPECT_EQ(user.remains(), "");
}

TEST(OrdinaryUserAloneTest, SetupMakesAssetsOfTheirOwn) {
  const OrdinaryUser user(OrdinaryUser::Ids::kRange);
  const LeakCheck before(user.directory());
  // The packages root's setup downloaded need no second download.
  Command seed;
  seed.argv = {"sh",
               "-euc",
               "mkdir -p -m 700 \"$1\" && cp -a \"$2\" \"$1/\" && chown -R \"$3:$3\" \"$4/.local\"",
               "sh",
               user.data() + "/cache",
               (data_dir() / "cache/debs").string(),
               std::to_string(user.uid()),
               user.home()};
  ASSERT_EQ(run(std::move(seed)).status, 0);
  Command setup = user.command({"setup"}, kNoSystemAssets);
  setup.deadline = std::chrono::minutes(5);
  const Outcome made = run(std::move(setup));
  ASSERT_EQ(made.status, 0) << made;
  EXPECT_THAT(made.out, HasSubstr(user.data()));
  EXPECT_TRUE(fs::exists(user.data() + "/kernels/vmlinux.bin"));
  EXPECT_FALSE(fs::exists(user.data() + ".btrfs"));
  const Outcome outcome =
      user.fcvm(user.run_args({"--rm"}, {"sh", "-c", "echo own; exit 5"}), kNoSystemAssets);
  EXPECT_EQ(outcome.status, 5) << outcome;
  EXPECT_EQ(outcome.out, "own\n");
  EXPECT_EQ(before.diff(), "");
  EXPECT_EQ(user.remains(), "");
}

}  // namespace
}  // namespace tests
