#include "vm/vm_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>

#include "base/files.h"
#include "base/log.h"
#include "tests/support/temp_dir.h"
#include "vm/vm_manager.h"

namespace vm {
namespace {

// A process that lives until the object is destroyed.
class LiveProcess {
 public:
  LiveProcess() {
    base::SpawnOptions options;
    options.argv = {"sleep", "60"};
    child_ = base::ChildProcess::spawn(options);
  }
  base::ProcessId id() const { return base::identify_process(child_.pid()).value(); }
  base::ProcessId end() {
    const base::ProcessId was = id();
    child_.kill(SIGKILL);
    child_.wait();
    return was;
  }

 private:
  base::ChildProcess child_;
};

class VmStoreTest : public ::testing::Test {
 protected:
  VmStoreTest() : store_(storage::DataDirectory(directory_.path())) {}
  ~VmStoreTest() override { base::remove_tree(store_.data().run()); }

  VmRecord add(const std::string& name, VmStatus status, const std::string& id) {
    VmRecord record;
    record.id = id + std::string(64 - id.size(), '0');
    record.name = name;
    record.status = status;
    record.created_ns = ++created_;
    store_.create(record);
    base::make_directories(store_.paths(record.id).disks, 0700);
    base::make_directories(store_.paths(record.id).run, 0700);
    base::write_file(store_.paths(record.id).root_disk, "disk");
    return record;
  }
  void change(const VmRecord& record) {
    store_.update(store_.records().lock_record(record.id), record);
  }
  bool folders_exist(const VmRecord& record) const {
    return base::path_exists(store_.paths(record.id).disks) ||
           base::path_exists(store_.paths(record.id).run);
  }

  tests::TempDir directory_;
  VmStore store_;
  LiveProcess process_;
  std::int64_t created_ = 0;
};

TEST_F(VmStoreTest, VmOfALivingMonitorIsLeftAlone) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  record.monitor = process_.id();
  change(record);
  EXPECT_TRUE(reconcile(store_).empty());
  EXPECT_EQ(store_.read(record.id).take().status, VmStatus::kRunning);
}

TEST_F(VmStoreTest, VmWhoseMonitorWasKilledIsMarkedExited) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  record.monitor = process_.end();
  change(record);
  EXPECT_EQ(reconcile(store_).size(), 1U);
  const VmRecord after = store_.read(record.id).take();
  EXPECT_EQ(after.status, VmStatus::kExited);
  EXPECT_EQ(after.exit_code, 137);
  EXPECT_NE(after.finished_ns, 0);
  EXPECT_FALSE(base::path_exists(store_.paths(record.id).run));
  EXPECT_TRUE(base::path_exists(store_.paths(record.id).root_disk));
  EXPECT_TRUE(reconcile(store_).empty());
}

TEST_F(VmStoreTest, ReusedPidOfAMonitorIsNotMistakenForIt) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  record.monitor = process_.id();
  record.monitor.start_time_ticks += 1;
  change(record);
  reconcile(store_);
  EXPECT_EQ(store_.read(record.id).take().status, VmStatus::kExited);
}

TEST_F(VmStoreTest, AutoRemovedVmWhoseMonitorWasKilledGoes) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  record.auto_remove = true;
  record.monitor = process_.end();
  change(record);
  reconcile(store_);
  EXPECT_FALSE(store_.read(record.id).ok());
  EXPECT_FALSE(folders_exist(record));
}

TEST_F(VmStoreTest, VmmThatOutlivedItsMonitorIsKilled) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  LiveProcess vmm;
  record.vmm = vmm.id();
  record.monitor = process_.end();
  change(record);
  reconcile(store_);
  EXPECT_FALSE(base::process_alive(record.vmm));
}

TEST_F(VmStoreTest, HalfMadeVmGoesWithItsCreator) {
  VmRecord record = add("web", VmStatus::kCreating, "a");
  record.creator = process_.id();
  change(record);
  EXPECT_TRUE(reconcile(store_).empty());
  record.creator = process_.end();
  change(record);
  reconcile(store_);
  EXPECT_FALSE(store_.read(record.id).ok());
  EXPECT_FALSE(folders_exist(record));
}

TEST_F(VmStoreTest, RemovalThatWasInterruptedIsFinished) {
  VmRecord record = add("web", VmStatus::kRemoving, "a");
  record.creator = process_.end();
  change(record);
  reconcile(store_);
  EXPECT_FALSE(store_.read(record.id).ok());
  EXPECT_FALSE(folders_exist(record));
}

TEST_F(VmStoreTest, LockedRecordIsSomebodyElses) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  record.monitor = process_.end();
  change(record);
  const auto lock = store_.records().lock_record(record.id);
  EXPECT_TRUE(reconcile(store_).empty());
}

TEST_F(VmStoreTest, RecordTornAtAnyByteCostsNothingElse) {
  base::set_log_sink([](base::LogLevel, std::string_view) {});
  const VmRecord other = add("other", VmStatus::kExited, "b");
  for (const VmStatus status :
       {VmStatus::kCreating, VmStatus::kCreated, VmStatus::kStarting, VmStatus::kRunning,
        VmStatus::kStopping, VmStatus::kExited, VmStatus::kRemoving}) {
    const VmRecord record = add("web", status, "a");
    const std::string file = store_.records().directory() + "/" + record.id + ".json";
    const std::string whole = base::read_file(file);
    // The kinds differ in a word only.
    const std::size_t step = status == VmStatus::kRunning ? 1 : 19;
    for (std::size_t size = 0; size + 1 < whole.size(); size += step) {
      base::write_file(file, whole.substr(0, size));
      const VmManager manager(store_.data());
      ASSERT_EQ(manager.list().size(), 1U) << size;
      ASSERT_EQ(manager.damaged(), std::vector<std::string>{record.id}) << size;
      ASSERT_TRUE(base::path_exists(store_.paths(record.id).root_disk)) << size;
      if (size % 95 == 0) {
        // The next command, and what it is told to do.
        ASSERT_TRUE(reconcile(store_).empty()) << size;
        ASSERT_TRUE(manager.remove_damaged(record.id.substr(0, 12)));
        ASSERT_FALSE(folders_exist(record));
        ASSERT_TRUE(manager.damaged().empty());
        base::make_directories(store_.paths(record.id).disks, 0700);
        base::write_file(store_.paths(record.id).root_disk, "disk");
      }
      store_.records().remove_set_aside(store_.records().lock_record(record.id));
    }
    base::remove_tree(store_.paths(record.id).disks);
  }
  EXPECT_TRUE(base::path_exists(store_.paths(other.id).root_disk));
  EXPECT_EQ(store_.list().size(), 1U);
}

TEST_F(VmStoreTest, RecordPutRightAgainLeavesNothingDamagedBehind) {
  base::set_log_sink([](base::LogLevel, std::string_view) {});
  const VmRecord record = add("web", VmStatus::kExited, "a");
  const std::string file = store_.records().directory() + "/" + record.id + ".json";
  const std::string whole = base::read_file(file);
  base::write_file(file, "{");
  VmManager manager(store_.data());
  ASSERT_EQ(manager.damaged(), std::vector<std::string>{record.id});
  base::write_file(file, whole);
  manager.remove(store_.read(record.id).take(), false, 0);
  EXPECT_FALSE(folders_exist(record));
  EXPECT_TRUE(manager.damaged().empty());
}

TEST_F(VmStoreTest, RecordOfANewerVersionBesideADamagedOneIsNotRemoved) {
  base::set_log_sink([](base::LogLevel, std::string_view) {});
  const VmRecord record = add("web", VmStatus::kExited, "a");
  const std::string file = store_.records().directory() + "/" + record.id + ".json";
  base::write_file(file, "{");
  const VmManager manager(store_.data());
  ASSERT_EQ(manager.damaged(), std::vector<std::string>{record.id});
  const state::Store newer(store_.records().directory(), std::string(VmRecord::kType),
                           VmRecord::kSchema + 1);
  newer.create(record.id, to_json(record));
  EXPECT_THROW(manager.remove_damaged(record.id), base::Error);
  EXPECT_TRUE(folders_exist(record));
}

TEST_F(VmStoreTest, RecordOfAnotherShapeCanBeRemoved) {
  const VmRecord other = add("other", VmStatus::kExited, "b");
  const VmRecord record = add("web", VmStatus::kExited, "a");
  store_.records().update(store_.records().lock_record(record.id), R"({"name":"web"})");
  const VmManager manager(store_.data());
  EXPECT_EQ(manager.damaged(), std::vector<std::string>{record.id});
  EXPECT_TRUE(folders_exist(record));
  EXPECT_FALSE(manager.remove_damaged(""));
  EXPECT_FALSE(manager.remove_damaged(other.id));
  EXPECT_FALSE(manager.remove_damaged(record.id.substr(0, 11)));
  EXPECT_TRUE(manager.remove_damaged(record.id.substr(0, 12)));
  EXPECT_FALSE(manager.remove_damaged(record.id));
  EXPECT_FALSE(folders_exist(record));
  EXPECT_TRUE(folders_exist(other));
}

TEST_F(VmStoreTest, DamagedRecordOfALivingMonitorIsItsOwn) {
  const VmRecord record = add("web", VmStatus::kRunning, "a");
  const auto lock = store_.records().lock_record(record.id);
  base::write_file(store_.records().directory() + "/" + record.id + ".json", "torn");
  EXPECT_TRUE(reconcile(store_).empty());
  EXPECT_TRUE(folders_exist(record));
  store_.update(lock, record);
  EXPECT_TRUE(store_.read(record.id).ok());
}

TEST_F(VmStoreTest, DamagedRecordIsSpokenOfOnce) {
  static std::vector<std::string> said;
  said.clear();
  const VmRecord record = add("web", VmStatus::kExited, "a");
  base::write_file(store_.records().directory() + "/" + record.id + ".json", "torn");
  base::set_log_sink([](base::LogLevel, std::string_view text) { said.emplace_back(text); });
  for (int i = 0; i < 3; ++i) static_cast<void>(VmManager(store_.data()).list());
  base::set_log_sink([](base::LogLevel, std::string_view) {});
  ASSERT_EQ(said.size(), 1U);
  EXPECT_NE(said[0].find("fcvm rm " + record.id), std::string::npos) << said[0];
}

TEST_F(VmStoreTest, FoldersWithoutARecordGo) {
  const std::string id(64, 'c');
  base::make_directories(store_.paths(id).disks, 0700);
  base::make_directories(store_.paths(id).run, 0700);
  EXPECT_EQ(reconcile(store_).size(), 2U);
  EXPECT_FALSE(base::path_exists(store_.paths(id).disks));
}

TEST_F(VmStoreTest, DestroyRemovesFoldersAndRecord) {
  const VmRecord record = add("web", VmStatus::kExited, "a");
  store_.destroy(store_.records().lock_record(record.id), record);
  EXPECT_FALSE(folders_exist(record));
  EXPECT_FALSE(store_.read(record.id).ok());
}

TEST_F(VmStoreTest, VmIsFoundByNameIdPrefixAndMonitorPid) {
  VmRecord record = add("web", VmStatus::kRunning, "abc");
  record.monitor = process_.id();
  change(record);
  add("abd", VmStatus::kExited, "abd");
  const VmManager manager(store_.data());
  EXPECT_EQ(manager.find("web").id, record.id);
  EXPECT_EQ(manager.find(record.id).id, record.id);
  EXPECT_EQ(manager.find("abc").id, record.id);
  EXPECT_EQ(manager.find("abd").name, "abd");
  EXPECT_EQ(manager.find(std::to_string(record.monitor.pid)).id, record.id);
}

TEST_F(VmStoreTest, AmbiguousOrUnknownNameIsRefused) {
  add("one", VmStatus::kExited, "abc");
  add("two", VmStatus::kExited, "abd");
  const VmManager manager(store_.data());
  EXPECT_THROW(manager.find("ab"), base::Error);
  EXPECT_THROW(manager.find("nothing"), base::Error);
  EXPECT_THROW(manager.find(""), base::Error);
}

TEST_F(VmStoreTest, RunningVmIsNotRemovedWithoutForce) {
  VmRecord record = add("web", VmStatus::kRunning, "a");
  record.monitor = process_.id();
  change(record);
  VmManager manager(store_.data());
  EXPECT_THROW(manager.remove(manager.find("web"), false, {}), base::Error);
  EXPECT_TRUE(folders_exist(record));
}

TEST(VmRecordTest, RoundTripKeepsEveryField) {
  VmRecord record;
  record.id = std::string(64, 'a');
  record.name = "web";
  record.status = VmStatus::kStopping;
  record.created_ns = 1;
  record.started_ns = 2;
  record.finished_ns = 3;
  record.exit_code = 137;
  record.oom_killed = true;
  record.error = "why";
  record.creator = {1, 2, "boot"};
  record.monitor = {3, 4, "boot"};
  record.vmm = {5, 6, "boot"};
  record.image = "oci:x";
  record.image_digest = "sha256:y";
  record.command = {"sh", "-c", "echo"};
  record.labels = {{"a", "b"}};
  record.hypervisor = "qemu";
  record.accel = "tcg";
  record.cpus = 3;
  record.mem_mib = 96;
  record.tty = record.open_stdin = record.auto_remove = true;
  record.stop_signal = 9;
  record.stop_timeout_s = 4;
  record.timings_us = {{"agent", 5}};
  const std::string text = to_json(record);
  const VmRecord read = parse_vm_record(text);
  EXPECT_EQ(to_json(read), text);
  EXPECT_EQ(read.exit_code, 137);
  EXPECT_EQ(read.monitor, record.monitor);
}

TEST(VmRecordTest, RecordWithMissingOrWrongFieldsIsRefused) {
  EXPECT_THROW(parse_vm_record("{}"), base::Error);
  EXPECT_THROW(parse_vm_record("[]"), base::Error);
  std::string text = to_json(VmRecord{});
  const auto at = text.find("\"creating\"");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 10, "\"dreaming\"");
  EXPECT_THROW(parse_vm_record(text), base::Error);
}

}  // namespace
}  // namespace vm
