#include "storage/shared_assets.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace storage {
namespace {

constexpr uid_t kUser = 54321;

// True when `f` is, in a process of an ordinary user.
template <typename F>
bool as_user(F&& f) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool user = ::setgid(kUser) == 0 && ::setuid(kUser) == 0;
    bool answer = false;
    try {
      answer = user && f();
    } catch (const std::exception&) {
      answer = false;
    }
    ::_exit(answer ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return status == 0;
}

mode_t mode_of(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 ? info.st_mode & 07777 : 0;
}

// Root's data directory with an asset of each kind, as tight as they come.
class SharedAssetsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FCVM_REQUIRE(root);
    std::filesystem::permissions(dir_.path(), static_cast<std::filesystem::perms>(0755));
    system_.emplace(dir_ / "system");
    user_.emplace(dir_ / "user");
    base::make_directories(user_->root());
    for (const std::string& folder : {system_->kernels() + "/debian/1", system_->rootfs(),
                                      system_->state(), system_->kernels() + "/.half.1-0.tmp"}) {
      base::make_directories(folder, 0700);
      base::write_file(folder + "/file", "content", 0600);
    }
    base::write_file(system_->default_kernel(), "kernel", 0600);
    base::write_file(system_->base_rootfs(), "base", 0600);
    ::setenv("FCVM_SYSTEM_DATA_DIR", system_->root().c_str(), 1);
  }
  void TearDown() override { ::unsetenv("FCVM_SYSTEM_DATA_DIR"); }

  tests::TempDir dir_;
  std::optional<DataDirectory> system_;
  std::optional<DataDirectory> user_;
};

TEST_F(SharedAssetsTest, AssetsCanBeReadByAllAndNothingElse) {
  share_assets(*system_);
  EXPECT_EQ(mode_of(system_->root()), 0711U);
  EXPECT_EQ(mode_of(system_->kernels() + "/debian/1"), 0755U);
  EXPECT_EQ(mode_of(system_->kernels() + "/debian/1/file"), 0644U);
  EXPECT_EQ(mode_of(system_->rootfs()), 0755U);
  EXPECT_EQ(mode_of(system_->rootfs() + "/file"), 0644U);
  EXPECT_EQ(mode_of(system_->state()), 0700U);
  EXPECT_EQ(mode_of(system_->kernels() + "/.half.1-0.tmp"), 0700U);
  EXPECT_TRUE(as_user([&] { return base::read_file(system_->base_rootfs()) == "base"; }));
  EXPECT_FALSE(as_user([&] { return !base::read_file(system_->state() + "/file").empty(); }));
  EXPECT_FALSE(as_user([&] { return ::access(system_->rootfs().c_str(), W_OK) == 0; }));
}

TEST_F(SharedAssetsTest, OfImportedKernelsOnlyTheDefaultOneCanBeRead) {
  const std::string imported = system_->kernels() + "/imported";
  for (const char* name : {"/chosen", "/private"}) {
    base::make_directories(imported + name, 0700);
    base::write_file(imported + name + "/vmlinux", "kernel", 0600);
  }
  std::filesystem::remove(system_->default_kernel());
  std::filesystem::create_symlink("imported/chosen/vmlinux", system_->default_kernel());
  share_assets(*system_);
  EXPECT_EQ(mode_of(imported), 0711U);
  EXPECT_EQ(mode_of(imported + "/private"), 0700U);
  EXPECT_TRUE(as_user([&] { return base::read_file(system_->default_kernel()) == "kernel"; }));
}

TEST_F(SharedAssetsTest, UserReadsTheSystemsUntilThereIsOneOfTheirOwn) {
  share_assets(*system_);
  const auto root_of = [&](const char* asset) { return with_asset(*user_, asset).root(); };
  EXPECT_TRUE(as_user([&] { return root_of("kernels/vmlinux.bin") == system_->root(); }));
  EXPECT_TRUE(as_user([&] { return root_of("kernels/none") == user_->root(); }));
  base::make_directories(user_->kernels());
  base::write_file(user_->default_kernel(), "own", 0644);
  EXPECT_TRUE(as_user([&] { return root_of("kernels/vmlinux.bin") == user_->root(); }));
  EXPECT_TRUE(as_user([&] { return root_of("rootfs/base.ext4") == system_->root(); }));
}

TEST_F(SharedAssetsTest, AssetsThatAreNotReadableAreNotThere) {
  EXPECT_FALSE(as_user([] { return has_system_assets(); }));
  EXPECT_TRUE(
      as_user([&] { return with_asset(*user_, "rootfs/base.ext4").root() == user_->root(); }));
  share_assets(*system_);
  EXPECT_TRUE(as_user([] { return has_system_assets(); }));
}

TEST_F(SharedAssetsTest, AssetOfAnotherUserIsNotTrusted) {
  share_assets(*system_);
  ASSERT_EQ(::chown(system_->default_kernel().c_str(), kUser + 1, kUser + 1), 0);
  EXPECT_TRUE(
      as_user([&] { return with_asset(*user_, "kernels/vmlinux.bin").root() == user_->root(); }));
}

TEST_F(SharedAssetsTest, RootUsesItsOwnOnly) {
  share_assets(*system_);
  EXPECT_EQ(with_asset(*user_, "kernels/vmlinux.bin").root(), user_->root());
}

TEST_F(SharedAssetsTest, UsersDataDirectoryIsMadeWhenTheSystemsAssetsCanBeRead) {
  ASSERT_EQ(::chown(user_->root().c_str(), kUser, kUser), 0);
  const std::string own = user_->root() + "/data";
  const auto opens = [&] {
    ::setenv("XDG_RUNTIME_DIR", user_->root().c_str(), 1);
    const DataDirectory data = open_data_directory(own);
    return base::is_directory(data.vm_disks()) && data.run().starts_with(user_->root()) &&
           mode_of(data.root()) == 0700 && mode_of(data.run()) == 0700;
  };
  EXPECT_FALSE(as_user(opens));
  EXPECT_FALSE(base::path_exists(own));
  share_assets(*system_);
  EXPECT_TRUE(as_user(opens));
}

}  // namespace
}  // namespace storage
