#include "vm/image_use.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/files.h"
#include "tests/support/temp_dir.h"
#include "vm/snapshot/snapshot.h"

namespace vm {
namespace {

class ImageUseTest : public ::testing::Test {
 protected:
  void add(char id, VmStatus status, const std::string& digest) const {
    VmRecord record;
    record.id = std::string(64, id);
    record.name = std::string(1, id);
    record.status = status;
    record.image_digest = digest;
    store_.create(record);
  }
  std::string vms_of(const std::string& digest) const {
    std::string names;
    for (const auto& vm : image_users(store_, digest).vms) names += vm.name;
    return names;
  }

  const std::string digest_ = "sha256:" + std::string(64, '1');
  const std::string other_ = "sha256:" + std::string(64, '2');
  tests::TempDir dir_;
  VmStore store_{storage::DataDirectory(dir_.path())};
};

TEST_F(ImageUseTest, VmsOfEveryStatusButThoseThatGo) {
  EXPECT_TRUE(image_users(store_, digest_).none());
  add('a', VmStatus::kCreating, digest_);
  add('b', VmStatus::kStarting, digest_);
  add('c', VmStatus::kExited, digest_);
  add('d', VmStatus::kRemoving, digest_);
  add('e', VmStatus::kRunning, other_);
  EXPECT_EQ(vms_of(digest_), "abc");
  EXPECT_EQ(vms_of(other_), "e");
  EXPECT_FALSE(image_users(store_, digest_).none());
}

TEST_F(ImageUseTest, SnapshotsAlsoThoseThatCannotBeRead) {
  Snapshot snapshot;
  snapshot.tag = "whole";
  snapshot.vm.image_digest = digest_;
  dir_.write("snapshots/whole/snapshot.json", to_json(snapshot));
  snapshot.tag = "other";
  snapshot.vm.image_digest = other_;
  dir_.write("snapshots/other/snapshot.json", to_json(snapshot));
  dir_.write("snapshots/newer/snapshot.json", R"({"schema":999,"image":")" + digest_ + "\"}");
  dir_.write("snapshots/torn/snapshot.json", "{");
  dir_.write("snapshots/torn/launch.json", "images/" + std::string(64, '1') + "/disk.ext4");
  dir_.write("snapshots/empty/memory.bin", "");
  dir_.write("snapshots/.half.1-0.tmp/launch.json", digest_);
  using Tags = std::vector<std::string>;
  EXPECT_EQ(image_users(store_, digest_).snapshots, (Tags{"newer", "torn", "whole"}));
  EXPECT_EQ(image_users(store_, other_).snapshots, Tags{"other"});
}

}  // namespace
}  // namespace vm
