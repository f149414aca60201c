#include "storage/data_directory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "base/process.h"
#include "storage/loop_file.h"
#include "storage/reflink.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace storage {
namespace {

constexpr PrepareOptions kSmall{1ULL << 30};

// A temporary directory on a file system that has none.
class NoReflinks {
 public:
  NoReflinks() {
    base::mount_fs("tmpfs", dir_.path(), "tmpfs", 0);
    mount_ = base::MountGuard(dir_.path());
  }
  std::string operator/(std::string_view name) const { return dir_ / name; }

 private:
  tests::TempDir dir_;
  base::MountGuard mount_;
};

// Closes and removes what a test made.
class Cleanup {
 public:
  explicit Cleanup(const DataDirectory& data) : data_(data) {}
  ~Cleanup() {
    close_data_directory(data_);
    base::remove_tree(data_.run());
    ::unlink((data_.run() + ".lock").c_str());
  }

 private:
  const DataDirectory& data_;
};

int loop_devices_of(const std::string& file) {
  int count = 0;
  for (const std::string& name : base::list_directory("/sys/block")) {
    const auto text = base::try_read_file("/sys/block/" + name + "/loop/backing_file", 4096);
    if (text && text->starts_with(file)) ++count;
  }
  return count;
}

TEST(DataDirectoryTest, PathsFollowTheLayout) {
  const DataDirectory data("/mnt/fcvm-btrfs/");
  EXPECT_EQ(data.root(), "/mnt/fcvm-btrfs");
  EXPECT_EQ(data.default_kernel(), "/mnt/fcvm-btrfs/kernels/vmlinux.bin");
  EXPECT_EQ(data.base_rootfs(), "/mnt/fcvm-btrfs/rootfs/base.ext4");
  EXPECT_EQ(data.vm_disk("id"), "/mnt/fcvm-btrfs/vm-disks/id");
  EXPECT_EQ(data.backing_file(), "/var/lib/fcvm/data.btrfs");
  EXPECT_EQ(DataDirectory("/srv/x").backing_file(), "/srv/x.btrfs");
}

TEST(DataDirectoryTest, SocketPathsFitIntoSunPath) {
  const DataDirectory data("/a/very/long/name/of/a/directory/that/somebody/chose/for/good/reasons");
  const std::string id(64, 'f');
  EXPECT_LT((data.vm_run(id.substr(0, 12)) + "/monitor.sock").size(), 108U);
}

TEST(DataDirectoryTest, LinksToOneDirectoryShareItsRunDirectory) {
  tests::TempDir dir;
  base::make_directories(dir / "real");
  ASSERT_EQ(::symlink("real", (dir / "link").c_str()), 0);
  EXPECT_EQ(DataDirectory(dir / "link/data").root(), (dir / "real/data").string());
  EXPECT_EQ(DataDirectory(dir / "link/data").run(), DataDirectory(dir / "real/data").run());
  EXPECT_NE(DataDirectory(dir / "real/other").run(), DataDirectory(dir / "real/data").run());
}

TEST(DataDirectoryTest, MissingDirectoryNamesSetupAsTheRemedy) {
  tests::TempDir dir;
  try {
    open_data_directory(dir / "nothing");
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("does not exist"), std::string::npos) << error.what();
    EXPECT_NE(error.hint().find("fcvm setup"), std::string::npos);
  }
  EXPECT_FALSE(base::path_exists(dir / "nothing"));
}

TEST(DataDirectoryTest, DirectoryWithOtherThingsIsNoDataDirectory) {
  tests::TempDir dir;
  dir.write("data/file", "mine");
  EXPECT_THROW(open_data_directory(dir / "data"), base::Error);
  EXPECT_EQ(base::list_directory(dir / "data").size(), 1U);
}

TEST(DataDirectoryRootTest, PreparedDirectoryHasReflinksAndCanBeOpened) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const DataDirectory data(dir / "data");
  const Cleanup cleanup(data);
  EXPECT_NE(prepare_data_directory(data, kSmall), DataDirectoryKind::kPlain);
  EXPECT_TRUE(supports_reflink(data.root()));
  const DataDirectory opened = open_data_directory(data.root());
  EXPECT_EQ(opened.root(), data.root());
  EXPECT_TRUE(base::is_directory(data.images()));
  EXPECT_TRUE(base::is_directory(data.state()));
  struct stat info {};
  ASSERT_EQ(::stat(data.run().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  ASSERT_EQ(::stat(data.root().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0711U);
}

TEST(DataDirectoryRootTest, PreparingAgainKeepsWhatIsThere) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const DataDirectory data(dir / "data");
  const Cleanup cleanup(data);
  const auto kind = prepare_data_directory(data, kSmall);
  base::write_file(data.state() + "/record", "kept");
  EXPECT_EQ(prepare_data_directory(data, kSmall), kind);
  EXPECT_EQ(base::read_file(data.state() + "/record"), "kept");
  EXPECT_LE(base::mounts_below(data.root()).size(), 1U);
}

TEST(DataDirectoryRootTest, LoopFileIsMountedAgainAfterAReboot) {
  FCVM_REQUIRE(root);
  const NoReflinks dir;
  const DataDirectory data(dir / "data");
  const Cleanup cleanup(data);
  ASSERT_EQ(prepare_data_directory(data, kSmall), DataDirectoryKind::kLoopFile);
  base::write_file(data.state() + "/record", "kept");
  close_data_directory(data);
  EXPECT_FALSE(base::path_exists(data.state()));
  EXPECT_EQ(loop_devices_of(data.backing_file()), 0);
  base::remove_tree(data.run());
  EXPECT_EQ(base::read_file(open_data_directory(data.root()).state() + "/record"), "kept");
  EXPECT_TRUE(base::is_directory(data.run()));
}

TEST(DataDirectoryRootTest, LoopFileIsSparse) {
  FCVM_REQUIRE(root);
  const NoReflinks dir;
  const DataDirectory data(dir / "data");
  const Cleanup cleanup(data);
  ASSERT_EQ(prepare_data_directory(data, {60ULL << 30}), DataDirectoryKind::kLoopFile);
  EXPECT_LT(allocated_bytes(data.backing_file()), 64U << 20);
}

TEST(DataDirectoryRootTest, SixPreparingAtOnceMountItOnce) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const DataDirectory data(dir / "data");
  const Cleanup cleanup(data);
  std::vector<pid_t> children;
  for (int i = 0; i < 6; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      try {
        prepare_data_directory(data, kSmall);
        ::_exit(0);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(1);
      }
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_LE(base::mounts_below(data.root()).size(), 1U);
  EXPECT_LE(loop_devices_of(data.backing_file()), 1);
  open_data_directory(data.root());
}

TEST(DataDirectoryRootTest, AttachedFileIsNotAttachedTwice) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const std::string file = dir / "file.btrfs";
  base::make_directories(dir / "a");
  base::make_directories(dir / "b");
  make_loop_file(file, 1ULL << 30);
  mount_loop_file(file, dir / "a");
  const base::MountGuard first(dir / "a");
  mount_loop_file(file, dir / "b");
  const base::MountGuard second(dir / "b");
  base::write_file(dir / "a/x", "seen");
  EXPECT_EQ(base::read_file(dir / "b/x"), "seen");
  EXPECT_EQ(loop_devices_of(file), 1);
}

TEST(DataDirectoryRootTest, TooLittleSpaceIsSaidAndNothingIsLeft) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const std::string small = dir / "small";
  base::make_directories(small);
  base::mount_fs("tmpfs", small, "tmpfs", 0, "size=64m");
  const base::MountGuard mounted(small);
  const DataDirectory data(small + "/data");
  const Cleanup cleanup(data);
  try {
    prepare_data_directory(data, kSmall);
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("2048 MiB are needed"), std::string::npos)
        << error.what();
    EXPECT_FALSE(error.hint().empty());
  }
  EXPECT_FALSE(base::path_exists(data.backing_file()));
  EXPECT_TRUE(base::list_directory(data.root()).empty());
}

TEST(DataDirectoryRootTest, DirectoryThatHoldsOtherThingsIsRefused) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const std::string place = dir / "place";
  base::make_directories(place);
  base::mount_fs("tmpfs", place, "tmpfs", 0);
  const base::MountGuard mounted(place);
  base::make_directories(place + "/data");
  base::write_file(place + "/data/mine", "mine");
  const DataDirectory data(place + "/data");
  const Cleanup cleanup(data);
  EXPECT_THROW(prepare_data_directory(data, kSmall), base::Error);
  EXPECT_EQ(base::list_directory(place + "/data"), std::vector<std::string>{"mine"});
  EXPECT_EQ(base::list_directory(place), std::vector<std::string>{"data"});
}

}  // namespace
}  // namespace storage
