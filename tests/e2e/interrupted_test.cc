// Setup, image building and the making of a VM, each ended by kill -9 and by a full disk at every
// fault point (base/fault_point.h), and on a file system that is really small: what failed says so in
// one line, nothing is left, and the next try goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <filesystem>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/fault_point.h"
#include "storage/data_directory.h"
#include "storage/reflink.h"
#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_image.h"

namespace tests {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

Outcome shell(const std::string& script) {
  Command command;
  command.argv = {"sh", "-euc", script};
  Outcome outcome = run(std::move(command));
  EXPECT_EQ(outcome.status, 0) << script << ": " << outcome;
  return outcome;
}

void expect_full_disk(const Outcome& outcome) {
  EXPECT_EQ(outcome.status, 125) << outcome;
  EXPECT_EQ(outcome.out, "") << outcome;
  EXPECT_THAT(outcome.err, HasSubstr("No space left on device"));
}

// A data directory of its own, gone with the object.
class OwnData {
 public:
  OwnData() : path_(dir_ / "data") {}
  ~OwnData() {
    const storage::DataDirectory data(path_);
    storage::close_data_directory(data);
    fs::remove_all(data.run());
    fs::remove(data.run() + ".lock");
  }
  const std::string& path() const { return path_; }

  Outcome fcvm(const std::vector<std::string>& args, const std::string& fault = {}) const {
    Command command;
    command.argv = {(bin_dir() / "fcvm").string(), "--data-dir", path_};
    command.argv.insert(command.argv.end(), args.begin(), args.end());
    if (!fault.empty()) command.env = {"FCVM_FAULT=" + fault};
    command.deadline = std::chrono::minutes(4);
    return run(std::move(command));
  }
  // The packages of the tests' own setup need no second download.
  void seed_packages() const {
    shell("mkdir -p " + path_ + "/cache && cp -a " + (data_dir() / "cache/debs").string() + " " +
          path_ + "/cache/");
  }

 private:
  TempDir dir_;
  std::string path_;
};

// In the order setup passes them; the first two only where a loop file is made.
std::vector<std::string> points_of_setup(const OwnData& data) {
  std::vector<std::string> points;
  if (!storage::supports_reflink(fs::path(data.path()).parent_path())) {
    points = {"setup.loop-file", "setup.mounted"};
  }
  points.insert(points.end(),
                {"setup.data", "setup.kernel-unpacked", "setup.kernel-built", "setup.kernel",
                 "setup.base-unpacked", "setup.base-built", "setup.base", "setup.base-linked",
                 "setup.profile", "setup.initramfs"});
  return points;
}

void expect_setup_completes(const OwnData& data, const LeakCheck& before) {
  const Outcome setup = data.fcvm({"setup"});
  EXPECT_EQ(setup.status, 0) << setup;
  // It reads every asset and compares the kernel with its digest.
  const Outcome doctor = data.fcvm({"doctor"});
  EXPECT_EQ(doctor.status, 0) << doctor;
  storage::close_data_directory(storage::DataDirectory(data.path()));
  EXPECT_EQ(before.diff(), "");
}

TEST(InterruptedSetupTest, KilledAnywhereItGoesOn) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const OwnData data;
  const LeakCheck before(data.path());
  for (const std::string& point : points_of_setup(data)) {
    const Outcome killed = data.fcvm({"setup", "--size", "4g"}, point + "=kill");
    EXPECT_EQ(killed.status, 128 + SIGKILL) << point << ": " << killed;
    if (point == "setup.data") data.seed_packages();
  }
  expect_setup_completes(data, before);
}

TEST(InterruptedSetupTest, FullDiskAnywhereIsNamedAndItGoesOn) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const OwnData data;
  const LeakCheck before(data.path());
  for (const std::string& point : points_of_setup(data)) {
    SCOPED_TRACE(point);
    expect_full_disk(data.fcvm({"setup", "--size", "4g"}, point + "=ENOSPC"));
    if (point == "setup.data") data.seed_packages();
    for (const char* folder : {"kernels", "kernels/debian", "rootfs", "initramfs", "cache"}) {
      std::error_code none;
      for (const auto& entry : fs::directory_iterator(data.path() + "/" + folder, none)) {
        EXPECT_FALSE(entry.path().filename().string().ends_with(".tmp")) << entry.path();
      }
    }
  }
  expect_setup_completes(data, before);
}

// Every record of setup, as a crash of the machine may leave it.
TEST(InterruptedSetupTest, TornRecordsAreMadeAgain) {
  const OwnData data;
  const LeakCheck before(data.path());
  if (missing_fault_points().empty()) {
    data.fcvm({"setup", "--size", "4g"}, "setup.data=kill");
    data.seed_packages();
  }
  ASSERT_EQ(data.fcvm({"setup", "--size", "4g"}).status, 0);
  const std::string find = "cd " + data.path() +
                           " && find kernels rootfs initramfs .fcvm-data -type f "
                           "'(' -name '*.json' -o -name '*.key' -o -name .fcvm-data ')'";
  std::istringstream names(shell(find).out);
  std::size_t records = 0;
  for (std::string name; std::getline(names, name); ++records) {
    const std::string file = data.path() + "/" + name;
    const std::string whole = read_file(file);
    for (const std::size_t cut : {whole.size() - 2, std::size_t{0}}) {
      SCOPED_TRACE(name + " cut to " + std::to_string(cut));
      fs::resize_file(file, cut);
      const Outcome setup = data.fcvm({"setup"});
      EXPECT_EQ(setup.status, 0) << setup;
      EXPECT_EQ(read_file(file), whole);
    }
    EXPECT_EQ(data.fcvm({"doctor"}).status, 0);
  }
  EXPECT_GE(records, 5U);
  storage::close_data_directory(storage::DataDirectory(data.path()));
  EXPECT_EQ(before.diff(), "");
}

const std::vector<std::string> kPointsOfImages = {"image.identified", "image.unpacked",
                                                  "image.disk", "image.meta", "image.published"};

TEST(InterruptedImageTest, KilledAnywhereTheNextRunHasIt) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const TempDir dir;
  const ImageDisksRestored restore;
  const std::string image = make_test_image(dir.path(), unique_name("killed"), 1 << 20);
  const std::vector<std::string> args = run_args({"--rm"}, {"/bin/busybox", "echo", "ran"}, image);
  const LeakCheck before;
  for (const std::string& point : kPointsOfImages) {
    Command command = fcvm_command(args);
    command.env = {"FCVM_FAULT=" + point + "=kill"};
    const Outcome killed = run(std::move(command));
    EXPECT_EQ(killed.status, 128 + SIGKILL) << point << ": " << killed;
    EXPECT_EQ(restore.count(), point == "image.published" ? 1U : 0U) << point;
    EXPECT_EQ(fcvm({"ls", "-a"}).status, 0);
  }
  const Outcome next = fcvm(args);
  EXPECT_EQ(next.status, 0) << next;
  EXPECT_EQ(next.out, "ran\n");
  // What the kill left is swept when an image is made.
  const TempDir other;
  EXPECT_EQ(fcvm(run_args({"--rm"}, {"/bin/busybox", "true"},
                          make_test_image(other.path(), unique_name("sweep"))))
                .status,
            0);
  EXPECT_EQ(before.diff(), "");
}

TEST(InterruptedImageTest, FullDiskAnywhereIsNamedAndNothingIsLeft) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const TempDir dir;
  const ImageDisksRestored restore;
  const std::string image = make_test_image(dir.path(), unique_name("full"), 1 << 20);
  for (const std::string& point : kPointsOfImages) {
    SCOPED_TRACE(point);
    const LeakCheck before;
    Command command = fcvm_command(run_args({"--rm"}, {"true"}, image));
    command.env = {"FCVM_FAULT=" + point + "=ENOSPC"};
    expect_full_disk(run(std::move(command)));
    EXPECT_EQ(before.diff(), "");
  }
}

TEST(InterruptedImageTest, DamagedDiskIsMadeAgain) {
  const TempDir dir;
  const ImageDisksRestored restore;
  std::set<std::string> before;
  for (const auto& entry : fs::directory_iterator(data_dir() / "images")) {
    before.insert(entry.path().string());
  }
  const std::string image = make_test_image(dir.path(), unique_name("torn"));
  const std::vector<std::string> args = run_args({"--rm"}, {"/bin/busybox", "echo", "ran"}, image);
  ASSERT_EQ(fcvm(args).out, "ran\n");
  fs::path folder;
  for (const auto& entry : fs::directory_iterator(data_dir() / "images")) {
    if (!before.contains(entry.path().string())) folder = entry.path();
  }
  ASSERT_TRUE(fs::exists(folder / "meta.json"));
  const std::string meta = read_file(folder / "meta.json");
  const LeakCheck leaks;
  for (const std::size_t cut : {meta.size() - 2, meta.size() / 2, std::size_t{0}}) {
    SCOPED_TRACE(cut);
    fs::resize_file(folder / "meta.json", cut);
    const Outcome next = fcvm(args);
    EXPECT_EQ(next.status, 0) << next;
    EXPECT_EQ(next.out, "ran\n");
    EXPECT_THAT(next.err, HasSubstr("it is made again"));
    EXPECT_EQ(read_file(folder / "meta.json"), meta);
  }
  fs::remove(folder / "disk.ext4");
  EXPECT_EQ(fcvm(args).out, "ran\n");
  EXPECT_EQ(leaks.diff(), "");
}

class InterruptedCreateTest : public testing::TestWithParam<const char*> {};

TEST_P(InterruptedCreateTest, FullDiskIsNamedAndNothingIsLeft) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const LeakCheck before;
  const std::string name = unique_name("full");
  Command command = fcvm_command(run_args({"--rm", "--name", name}, {"true"}));
  command.env = {"FCVM_FAULT=" + std::string(GetParam()) + "=ENOSPC"};
  expect_full_disk(run(std::move(command)));
  EXPECT_EQ(fcvm({"ls", "-a"}).status, 0);
  EXPECT_EQ(inspect(name, "/State/Status"), "");
  EXPECT_EQ(before.diff(), "");
}

INSTANTIATE_TEST_SUITE_P(Points, InterruptedCreateTest,
                         testing::Values("create.record", "create.folder", "create.disk",
                                         "create.plan", "monitor.save", "monitor.listening"),
                         [](const auto& row) {
                           std::string name = row.param;
                           std::replace(name.begin(), name.end(), '.', '_');
                           return name;
                         });

// A data directory in memory with everything a VM needs, whose free space a test chooses.
class SmallData {
 public:
  SmallData() {
    fs::create_directory(path());
    shell("mount -t tmpfs -o size=2g none " + path());
    shell("cd " + data_dir().string() + " && cp -a --sparse=always --parents kernels initramfs " +
          "rootfs images " + path() + " && printf 'fcvm 1 plain\\n' > " + path() + "/.fcvm-data");
    shell("cd " + data_dir().string() + " && cp -a --parents cache/image-ids " + path());
  }
  ~SmallData() {
    shell("umount " + path());
    const storage::DataDirectory data(path());
    fs::remove_all(data.run());
    fs::remove(data.run() + ".lock");
  }
  std::string path() const { return dir_ / "data"; }

  void leave_free(std::uint64_t bytes) const {
    const std::string filler = path() + "/filler";
    fs::remove(filler);
    const std::uint64_t free = fs::space(path()).available;
    ASSERT_GE(free, bytes);
    shell("fallocate -l " + std::to_string(std::max<std::uint64_t>(free - bytes, 4096)) + " " +
          filler);
  }

 private:
  TempDir dir_;
};

TEST(InterruptedByAFullDiskTest, EveryAmountOfSpaceRunsOrSaysThatItIsFull) {
  FCVM_REQUIRE(root);
  // Its image disk is there by that.
  ASSERT_EQ(run_container({}, {"true"}).status, 0);
  const SmallData data;
  const std::uint64_t disk = storage::allocated_bytes(data_dir() / "rootfs/base.ext4");
  const auto run_once = [&] {
    Command command;
    command.argv = {(bin_dir() / "fcvm").string(), "--data-dir", data.path()};
    for (const std::string& arg : run_args({"--rm"}, {"echo", "ran"})) command.argv.push_back(arg);
    return run(std::move(command));
  };
  const Outcome with_room = run_once();
  ASSERT_EQ(with_room.status, 0) << with_room;
  const LeakCheck before(data.path());
  for (const std::uint64_t space :
       {std::uint64_t{0}, std::uint64_t{8} << 10, std::uint64_t{64} << 10, disk / 2, disk,
        disk + (64 << 10), disk + (1 << 20), disk + (128 << 20)}) {
    SCOPED_TRACE(space);
    data.leave_free(space);
    const Outcome outcome = run_once();
    if (outcome.status == 0) {
      EXPECT_EQ(outcome.out, "ran\n") << outcome;
    } else {
      EXPECT_EQ(outcome.status, 125) << outcome;
      EXPECT_THAT(outcome.err, StartsWith("fcvm: "));
      EXPECT_LE(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 2) << outcome;
    }
    if (space < disk) {
      EXPECT_THAT(outcome.err, HasSubstr("No space left on device"));
    }
    if (space > disk + (100 << 20)) {
      EXPECT_EQ(outcome.status, 0) << outcome;
    }
    EXPECT_EQ(before.diff(), "");
  }
}

}  // namespace
}  // namespace tests
