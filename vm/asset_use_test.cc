#include "vm/asset_use.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/files.h"
#include "image/prune.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"
#include "vm/launch_plan.h"

namespace vm {
namespace {

class AssetUseTest : public ::testing::Test {
 protected:
  AssetUseTest() {
    for (const char* name : {"old", "of-vm", "of-snapshot", "current"}) {
      dir_.write(initramfs(name), "a cpio");
      dir_.write("initramfs/key-" + std::string(name) + ".key", name);
      dir_.write(kernel(name), "an ELF");
      dir_.write("kernels/imported/keys/" + std::string(name), name);
      ::chmod((dir_ / kernel(name)).parent_path().c_str(), 0700);
    }
    dir_.write("vm-disks/0123/launch.json", plan("of-vm"));
    dir_.write("vm-disks/half-made/root.ext4", "");
    dir_.write("snapshots/tag/launch.json", plan("of-snapshot"));
  }

  static std::string initramfs(const std::string& name) { return "initramfs/" + name + ".cpio"; }
  static std::string kernel(const std::string& name) {
    return "kernels/imported/" + name + "/vmlinux";
  }
  std::string plan(const std::string& name) const {
    LaunchPlan plan;
    plan.kernel = dir_ / kernel(name);
    plan.initramfs = dir_ / initramfs(name);
    return to_json(plan);
  }
  bool there(const std::string& name) const {
    const bool kernel_there = base::path_exists(dir_ / kernel(name));
    for (const std::string& path :
         {initramfs(name), "initramfs/key-" + name + ".key", "kernels/imported/keys/" + name}) {
      EXPECT_EQ(base::path_exists(dir_ / path), kernel_there) << path;
    }
    return kernel_there;
  }
  void prune() { prune_assets(data_, {dir_ / initramfs("current"), dir_ / kernel("current")}); }

  tests::TempDir dir_;
  storage::DataDirectory data_{dir_.path()};
};

TEST_F(AssetUseTest, WhatNoVmSnapshotOrSetupUsesIsRemoved) {
  prune();
  EXPECT_FALSE(there("old"));
  EXPECT_TRUE(there("of-vm"));
  EXPECT_TRUE(there("of-snapshot"));
  EXPECT_TRUE(there("current"));
  base::remove_tree(dir_ / "vm-disks/0123");
  prune();
  EXPECT_FALSE(there("of-vm"));
  EXPECT_TRUE(there("of-snapshot"));
}

TEST_F(AssetUseTest, DefaultKernelStays) {
  base::remove_tree(data_.default_kernel());
  std::filesystem::create_symlink("imported/old/vmlinux", data_.default_kernel());
  prune();
  EXPECT_TRUE(base::path_exists(dir_ / kernel("old")));
  EXPECT_FALSE(base::path_exists(dir_ / initramfs("old")));
}

TEST_F(AssetUseTest, NothingIsRemovedWhileAVmIsMadeOrAnotherSetupRuns) {
  {
    const base::FileLock making = image::hold_assets(data_);
    const base::FileLock another = image::hold_assets(data_);
    prune();
  }
  {
    const base::FileLock setup = base::FileLock::acquire(data_.cache() + "/setup.lock");
    prune();
  }
  EXPECT_TRUE(there("old"));
  prune();
  EXPECT_FALSE(there("old"));
}

TEST_F(AssetUseTest, NothingIsRemovedWhenAPlanCannotBeRead) {
  dir_.write("vm-disks/4567/launch.json", "{");
  prune();
  EXPECT_TRUE(there("old"));
}

TEST_F(AssetUseTest, KernelThatOthersCouldReadStays) {
  FCVM_REQUIRE(root);  // an ordinary user's folder is nobody else's
  ::chmod((dir_ / "kernels/imported/old").c_str(), 0755);
  prune();
  EXPECT_TRUE(base::path_exists(dir_ / kernel("old")));
}

}  // namespace
}  // namespace vm
