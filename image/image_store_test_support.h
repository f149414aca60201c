// What the tests of the image store share: a store of their own, archives, mounted disks.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "base/process.h"
#include "image/image_store.h"
#include "image/test_archives.h"
#include "storage/data_directory.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace image {

class ImageStoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FCVM_REQUIRE(root);
    FCVM_REQUIRE_THAT(root, tests::missing_program({"skopeo", "mke2fs"}));
    data_.emplace(dir_ / "data");
    // A plain directory: what is tested here is the same on any file system.
    dir_.write("data/.fcvm-data", "fcvm 1 plain\n");
    ::chmod(data_->root().c_str(), 0700);
    storage::prepare_data_directory(*data_);
    store_.emplace(*data_);
  }
  void TearDown() override {
    if (!data_) return;
    base::remove_tree(data_->run());
    base::remove_tree(data_->run() + ".lock");
  }

  std::string archive(const std::vector<std::vector<testing::TarEntry>>& layers,
                      const testing::ArchiveOptions& options = {}) {
    std::vector<std::string> tars;
    tars.reserve(layers.size());
    for (const auto& layer : layers) tars.push_back(testing::make_tar(layer));
    const std::string name = base::cat("archive-", counter_++, ".tar");
    dir_.write(name, testing::make_docker_archive(tars, options));
    return "docker-archive:" + (dir_ / name).string();
  }

  // The error that ensure() ends with; fails the test when it does not. Nothing may be left.
  std::string refusal(const std::string& reference, const EnsureOptions& options = {}) {
    try {
      store_->ensure(reference, options);
    } catch (const base::Error& error) {
      expect_no_leftovers(0);
      const std::string text = error.what();
      EXPECT_EQ(text.find('\n'), std::string::npos) << text;
      EXPECT_NE(text.find("preparing image"), std::string::npos) << text;
      return text;
    }
    ADD_FAILURE() << reference << " was not refused";
    return {};
  }

  void expect_no_leftovers(std::size_t images) {
    const auto names = base::list_directory(data_->images());
    EXPECT_EQ(names.size(), images);
    for (const std::string& name : names) EXPECT_EQ(name.size(), 64U) << name;
    EXPECT_TRUE(base::mounts_below(data_->root()).empty());
  }

  // Mounts the disk and the overlay a VM would see; both go away with the test.
  std::string mount_root(const ImageDisk& disk) {
    const std::string image = dir_ / "image";
    const std::string root = dir_ / "root";
    const std::string scratch = dir_ / "scratch";
    for (const auto& path : {image, root, scratch}) base::make_directories(path);
    base::SpawnOptions mount;
    mount.argv = {"mount", "-o", "loop,ro,noload", disk.disk_path, image};
    base::run_command_checked(mount);
    mounts_.emplace_back(image);
    base::mount_fs("tmpfs", scratch, "tmpfs", 0);
    mounts_.emplace_back(scratch);
    base::make_directories(scratch + "/upper");
    base::make_directories(scratch + "/work");
    std::string lower;
    for (const std::string& layer : disk.meta.layers) {
      lower += (lower.empty() ? "" : ":") + image + "/" + layer;
    }
    base::mount_fs(
        "overlay", root, "overlay", 0,
        "lowerdir=" + lower + ",upperdir=" + scratch + "/upper,workdir=" + scratch + "/work");
    mounts_.emplace_back(root);
    return root;
  }

  ~ImageStoreTest() override {
    while (!mounts_.empty()) mounts_.pop_back();
  }

  tests::TempDir dir_;
  std::optional<storage::DataDirectory> data_;
  std::optional<ImageStore> store_;
  std::vector<base::MountGuard> mounts_;
  int counter_ = 0;
};

}  // namespace image
