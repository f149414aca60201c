// Of snapshots that are damaged: what is whole needs a VM (tests/e2e/snapshot_test.cc).
#include "vm/snapshot/snapshot_store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>

#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace vm {
namespace {

class SnapshotStoreTest : public ::testing::Test {
 protected:
  ~SnapshotStoreTest() override { base::remove_tree(manager_.store().data().run()); }

  void add(const std::string& tag, std::int64_t created_ns, const std::string& name_inside) {
    Snapshot snapshot;
    snapshot.tag = name_inside;
    snapshot.created_ns = created_ns;
    snapshot.files = {{kSnapshotMemoryFile, 3, "", ""}};
    dir_.write("snapshots/" + tag + "/snapshot.json", to_json(snapshot));
    dir_.write("snapshots/" + tag + "/memory.bin", "abc");
  }
  std::string error_of_remove(const std::string& tag) const {
    try {
      snapshots_.remove(tag);
    } catch (const base::Error& error) {
      return error.what();
    }
    return {};
  }

  tests::TempDir dir_;
  VmManager manager_{storage::DataDirectory(dir_.path())};
  SnapshotStore snapshots_{manager_};
};

TEST_F(SnapshotStoreTest, DamagedOnesAreListedAndRemoved) {
  add("late", 2, "late");
  add("early", 1, "early");
  add("copied", 3, "early");
  add("incomplete", 4, "incomplete");
  base::remove_tree(dir_ / "snapshots/incomplete/memory.bin");
  dir_.write("snapshots/newer/snapshot.json", R"({"schema":999})");
  dir_.write("snapshots/torn/snapshot.json", "{");
  dir_.write("snapshots/without/memory.bin", "abc");

  const SnapshotList list = snapshots_.list();
  ASSERT_EQ(list.snapshots.size(), 2U);
  EXPECT_EQ(list.snapshots[0].snapshot.tag, "early");
  EXPECT_EQ(list.snapshots[1].snapshot.tag, "late");
  std::string damaged;
  for (const auto& [tag, reason] : list.damaged) {
    damaged += tag + " ";
    EXPECT_NE(reason, "") << tag;
  }
  EXPECT_EQ(damaged, "copied incomplete newer torn without ");

  for (const char* tag : {"copied", "incomplete", "newer", "torn", "without"}) {
    EXPECT_EQ(error_of_remove(tag), "");
    EXPECT_FALSE(base::path_exists(dir_ / "snapshots" / tag)) << tag;
  }
  EXPECT_TRUE(snapshots_.list().damaged.empty());
  EXPECT_EQ(snapshots_.list().snapshots.size(), 2U);
}

TEST_F(SnapshotStoreTest, WhatSomebodyHoldsOrIsNotThereIsNotRemoved) {
  dir_.write("snapshots/torn/snapshot.json", "{");
  base::Fd held = base::open_file(dir_ / "snapshots/torn/snapshot.json", O_RDONLY);
  ASSERT_EQ(::flock(held.get(), LOCK_SH), 0);
  EXPECT_NE(error_of_remove("torn").find("in use"), std::string::npos);
  EXPECT_TRUE(base::path_exists(dir_ / "snapshots/torn"));
  held.reset();
  EXPECT_EQ(error_of_remove("torn"), "");
  EXPECT_NE(error_of_remove("torn").find("no snapshot"), std::string::npos);
  EXPECT_NE(error_of_remove("../torn").find("malformed tag"), std::string::npos);
}

TEST_F(SnapshotStoreTest, WhoLetsGoInAMomentIsWaitedFor) {
  dir_.write("snapshots/torn/snapshot.json", "{");
  base::Fd held = base::open_file(dir_ / "snapshots/torn/snapshot.json", O_RDONLY);
  ASSERT_EQ(::flock(held.get(), LOCK_SH), 0);
  std::thread holder([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.reset();
  });
  EXPECT_EQ(error_of_remove("torn"), "");
  holder.join();
}

}  // namespace
}  // namespace vm
