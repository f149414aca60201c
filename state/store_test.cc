#include "state/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <thread>

#include "state/envelope.h"
#include "tests/support/temp_dir.h"

namespace state {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class StoreTest : public ::testing::Test {
 protected:
  std::vector<std::string> files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(temp_ / "state")) {
      if (entry.is_regular_file()) names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  tests::TempDir temp_;
  Store store_{temp_ / "state", "vm", 2};
};

TEST_F(StoreTest, CreatedRecordIsReadBack) {
  store_.create("a1", R"({"name":"web"})");
  const auto record = store_.read("a1");
  ASSERT_TRUE(record.ok());
  EXPECT_EQ(record.value().id, "a1");
  EXPECT_EQ(record.value().schema, 2);
  EXPECT_EQ(record.value().json, R"({"name":"web"})");
}

TEST_F(StoreTest, FilesAreReadableByTheOwnerOnly) {
  store_.create("a1", "{}");
  struct stat info {};
  ASSERT_EQ(::stat((temp_ / "state/a1.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600U);
  ASSERT_EQ(::stat((temp_ / "state").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700U);
}

TEST_F(StoreTest, EmptyStoreListsNothingAndTouchesNothing) {
  EXPECT_THAT(store_.list().records, IsEmpty());
  EXPECT_FALSE(store_.exists("a1"));
  EXPECT_EQ(store_.read("a1").error().errnum(), ENOENT);
  EXPECT_FALSE(std::filesystem::exists(temp_ / "state"));
}

TEST_F(StoreTest, SecondCreateOfOneIdIsRefusedAndChangesNothing) {
  store_.create("a1", R"({"n":1})");
  try {
    store_.create("a1", R"({"n":2})");
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.errnum(), EEXIST);
  }
  EXPECT_EQ(store_.read("a1").value().json, R"({"n":1})");
  EXPECT_THAT(files(), ElementsAre("a1.json"));
}

TEST_F(StoreTest, UpdateReplacesAndLeavesNoTemporary) {
  store_.create("a1", R"({"n":1})");
  store_.update(store_.lock_record("a1"), R"({"n":2})", true);
  EXPECT_EQ(store_.read("a1").value().json, R"({"n":2})");
  EXPECT_THAT(files(), ElementsAre("a1.json"));
}

TEST_F(StoreTest, UpdateOfARemovedRecordDoesNotBringItBack) {
  store_.create("a1", "{}");
  EXPECT_TRUE(store_.remove(store_.lock_record("a1")));
  try {
    store_.update(store_.lock_record("a1"), "{}");
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.errnum(), ENOENT);
  }
  EXPECT_FALSE(store_.exists("a1"));
}

TEST_F(StoreTest, RemoveTakesTheLockFileAlong) {
  store_.create("a1", "{}");
  EXPECT_TRUE(store_.remove(store_.lock_record("a1")));
  EXPECT_FALSE(store_.remove(store_.lock_record("a1")));
  EXPECT_TRUE(std::filesystem::is_empty(temp_ / "state/.locks"));
}

TEST_F(StoreTest, WaiterForARemovedRecordGetsALockThatExcludes) {
  store_.create("a1", "{}");
  RecordLock first = store_.lock_record("a1");
  std::atomic<bool> got{false};
  std::thread waiter([&] {
    const RecordLock second = store_.lock_record("a1");
    got = true;
    EXPECT_FALSE(Store(temp_ / "state", "vm", 2).try_lock_record("a1").has_value());
  });
  EXPECT_FALSE(got);
  store_.remove(std::move(first));
  waiter.join();
  EXPECT_TRUE(got);
}

TEST_F(StoreTest, HeldRecordLockTimesOutForOthers) {
  const RecordLock lock = store_.lock_record("a1");
  EXPECT_FALSE(store_.try_lock_record("a1").has_value());
  try {
    static_cast<void>(store_.lock_record("a1", std::chrono::milliseconds(20)));
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.errnum(), ETIMEDOUT);
    EXPECT_THAT(error.what(), HasSubstr("'a1'"));
  }
  EXPECT_TRUE(store_.try_lock_record("b2").has_value());
}

TEST_F(StoreTest, LocksEndWithTheirProcess) {
  store_.create("a1", "{}");
  const pid_t child = ::fork();
  if (child == 0) {
    const RecordLock lock = store_.lock_record("a1");
    const base::FileLock all = store_.lock();
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(store_.try_lock_record("a1").has_value());
  EXPECT_TRUE(store_.lock(std::chrono::milliseconds(100)).held());
}

TEST_F(StoreTest, ConcurrentModificationsAreAllCounted) {
  store_.create("a1", R"({"n":[]})");
  std::vector<std::thread> writers;
  for (int writer = 0; writer < 4; ++writer) {
    writers.emplace_back([&] {
      for (int i = 0; i < 25; ++i) {
        store_.modify("a1", [](const Record& record) {
          std::string json = record.json;
          const bool first = json == R"({"n":[]})";
          json.insert(json.size() - 2, first ? "1" : ",1");
          return json;
        });
      }
    });
  }
  std::atomic<bool> done{false};
  std::thread reader([&] {
    while (!done) EXPECT_TRUE(store_.read("a1").ok());
  });
  for (auto& writer : writers) writer.join();
  done = true;
  reader.join();
  const std::string json = store_.read("a1").value().json;
  EXPECT_EQ(std::count(json.begin(), json.end(), '1'), 100);
}

TEST_F(StoreTest, FailedModificationWritesNothing) {
  store_.create("a1", R"({"n":1})");
  EXPECT_THROW(store_.modify("a1", [](const Record&) -> std::string { return "no json"; }),
               base::Error);
  EXPECT_EQ(store_.read("a1").value().json, R"({"n":1})");
  EXPECT_TRUE(store_.try_lock_record("a1").has_value());
}

TEST_F(StoreTest, ListIsSortedAndSkipsStrangers) {
  store_.create("b2", "{}");
  store_.create("a1", "{}");
  static_cast<void>(temp_.write("state/README", "hello"));
  static_cast<void>(temp_.write("state/.hidden.json", "hello"));
  static_cast<void>(temp_.write("state/a1.json.damaged", "hello"));
  const Listing listing = store_.list();
  ASSERT_EQ(listing.records.size(), 2U);
  EXPECT_EQ(listing.records[0].id, "a1");
  EXPECT_EQ(listing.records[1].id, "b2");
  EXPECT_THAT(listing.problems, IsEmpty());
}

TEST_F(StoreTest, TornRecordIsListedAsDamagedAndMovedAsideByRepair) {
  store_.create("a1", R"({"name":"web"})");
  store_.create("b2", "{}");
  const std::string whole = tests::read_file(temp_ / "state/a1.json");
  const std::string torn = whole.substr(0, whole.size() / 2);
  static_cast<void>(temp_.write("state/a1.json", torn));

  const auto record = store_.read("a1");
  ASSERT_FALSE(record.ok());
  EXPECT_EQ(record.error().errnum(), 0);
  const Listing listing = store_.list();
  EXPECT_EQ(listing.records.size(), 1U);
  ASSERT_EQ(listing.problems.size(), 1U);
  EXPECT_EQ(listing.problems[0].id, "a1");
  EXPECT_EQ(listing.problems[0].kind, Problem::Kind::kDamaged);
  EXPECT_THAT(listing.problems[0].reason, HasSubstr("a1.json"));
  EXPECT_THROW(store_.create("a1", "{}"), base::Error);

  const std::string aside = temp_ / "state/a1.json.damaged";
  EXPECT_THAT(store_.repair(), ElementsAre("a1"));
  EXPECT_EQ(tests::read_file(aside), torn);
  EXPECT_THAT(store_.list().problems, IsEmpty());

  static_cast<void>(temp_.write("state/a1.json", "again"));
  EXPECT_THAT(store_.repair(), ElementsAre("a1"));
  EXPECT_EQ(tests::read_file(aside), torn);
  EXPECT_EQ(tests::read_file(aside + ".1"), "again");
  EXPECT_THAT(store_.repair(), IsEmpty());
}

TEST_F(StoreTest, RecordTornAtAnyByteIsDamagedAndCostsNoOther) {
  store_.create("whole", R"({"name":"db"})");
  store_.create("torn", R"({"labels":{"a":"\u00e9"},"n":-1.5,"none":null,"name":"web"})");
  const std::string text = tests::read_file(temp_ / "state/torn.json");
  // Without its last byte, a newline, it is still the whole record.
  for (std::size_t size = 0; size + 1 < text.size(); ++size) {
    static_cast<void>(temp_.write("state/torn.json", text.substr(0, size)));
    ASSERT_FALSE(store_.read("torn").ok()) << size;
    const Listing listing = store_.list();
    ASSERT_EQ(listing.records.size(), 1U) << size;
    ASSERT_EQ(listing.problems.size(), 1U) << size;
    ASSERT_EQ(listing.problems[0].kind, Problem::Kind::kDamaged) << size;
    ASSERT_THAT(store_.repair(), ElementsAre("torn")) << size;
    ASSERT_EQ(store_.read("whole").value().json, R"({"name":"db"})") << size;
    store_.remove_set_aside(store_.lock_record("torn"));
  }
  EXPECT_THAT(files(), ElementsAre("whole.json"));
}

TEST_F(StoreTest, WhatWasSetAsideIsKnownUntilItIsRemoved) {
  for (const char* file : {"a1.json", "b2.json"}) {
    static_cast<void>(temp_.write(base::cat("state/", file), "torn"));
  }
  EXPECT_THAT(store_.set_aside(), IsEmpty());
  EXPECT_THAT(store_.repair(), ElementsAre("a1", "b2"));
  static_cast<void>(temp_.write("state/a1.json", "torn again"));
  EXPECT_THAT(store_.repair(), ElementsAre("a1"));
  EXPECT_THAT(store_.set_aside(), ElementsAre("a1", "b2"));
  EXPECT_FALSE(store_.exists("a1"));
  EXPECT_TRUE(store_.may_be_known("a1"));
  store_.remove_set_aside(store_.lock_record("a1"));
  EXPECT_THAT(store_.set_aside(), ElementsAre("b2"));
  EXPECT_FALSE(store_.may_be_known("a1"));
}

TEST_F(StoreTest, RecordThatCannotBeLookedAtMayBeKnown) {
  std::filesystem::create_directories(temp_ / "state");
  ASSERT_EQ(::symlink("nowhere", (temp_ / "state/a1.json").c_str()), 0);
  EXPECT_TRUE(store_.may_be_known("a1"));
  EXPECT_FALSE(store_.may_be_known("b2"));
}

TEST_F(StoreTest, SweepRemovesLocksThatNobodyHoldsAndNoRecordHas) {
  store_.create("kept", "{}");
  static_cast<void>(temp_.write("state/torn.json", "torn"));
  for (const char* id : {"kept", "torn", "gone"}) static_cast<void>(store_.lock_record(id));
  EXPECT_THAT(store_.repair(), ElementsAre("torn"));
  const RecordLock held = store_.lock_record("held");
  static_cast<void>(store_.lock());
  store_.sweep();
  std::vector<std::string> locks = base::list_directory(temp_ / "state/.locks");
  std::sort(locks.begin(), locks.end());
  EXPECT_THAT(locks, ElementsAre(".store", "held", "kept", "torn"));
}

TEST_F(StoreTest, EmptyAndHugeFilesAreDamaged) {
  static_cast<void>(temp_.write("state/empty.json", ""));
  static_cast<void>(temp_.write("state/huge.json", ""));
  ASSERT_EQ(::truncate((temp_ / "state/huge.json").c_str(), 1L << 32), 0);
  const Listing listing = store_.list();
  ASSERT_EQ(listing.problems.size(), 2U);
  EXPECT_EQ(listing.problems[0].kind, Problem::Kind::kDamaged);
  EXPECT_EQ(listing.problems[1].kind, Problem::Kind::kDamaged);
}

TEST_F(StoreTest, RepairLeavesARecordThatIsBeingWritten) {
  static_cast<void>(temp_.write("state/a1.json", "torn"));
  const RecordLock lock = store_.lock_record("a1");
  EXPECT_THAT(store_.repair(), IsEmpty());
}

TEST_F(StoreTest, NewerSchemaIsRefusedAndLeftAlone) {
  Store(temp_ / "state", "vm", 3).create("a1", "{}");
  const auto record = store_.read("a1");
  ASSERT_FALSE(record.ok());
  EXPECT_THAT(record.error().what(), HasSubstr("schema 3"));
  EXPECT_FALSE(record.error().hint().empty());
  EXPECT_EQ(store_.list().problems.at(0).kind, Problem::Kind::kNewerSchema);
  EXPECT_THAT(store_.repair(), IsEmpty());
  EXPECT_TRUE(store_.exists("a1"));
}

TEST_F(StoreTest, OlderSchemaIsReadAsWhatItIs) {
  Store(temp_ / "state", "vm", 1).create("a1", "{}");
  EXPECT_EQ(store_.read("a1").value().schema, 1);
}

TEST_F(StoreTest, RecordOfAnotherTypeIsRefused) {
  Store(temp_ / "state", "network", 1).create("a1", "{}");
  const auto record = store_.read("a1");
  ASSERT_FALSE(record.ok());
  EXPECT_THAT(record.error().what(), HasSubstr("'network'"));
}

TEST_F(StoreTest, UnreadableRecordIsReportedAndNotMoved) {
  std::filesystem::create_directories(temp_ / "state");
  // Opening a link to itself fails for root as well.
  ASSERT_EQ(::symlink("a1.json", (temp_ / "state/a1.json").c_str()), 0);
  const Listing listing = store_.list();
  ASSERT_EQ(listing.problems.size(), 1U);
  EXPECT_EQ(listing.problems[0].kind, Problem::Kind::kUnreadable);
  EXPECT_THAT(store_.repair(), IsEmpty());
}

TEST_F(StoreTest, SweepRemovesTemporariesOfDeadWritersOnly) {
  store_.create("a1", "{}");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  const std::string dead = base::cat("a1.json.", child, ".0.tmp");
  const std::string alive = base::cat("a1.json.", ::getpid(), ".77.tmp");
  static_cast<void>(temp_.write("state/" + dead, "x"));
  static_cast<void>(temp_.write("state/" + alive, "x"));
  store_.sweep();
  EXPECT_THAT(files(), ElementsAre("a1.json", alive)) << "with a zombie";
  static_cast<void>(temp_.write("state/" + dead, "x"));
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  store_.sweep();
  EXPECT_THAT(files(), ElementsAre("a1.json", alive)) << "without it";
}

TEST_F(StoreTest, IdsThatLeaveTheFolderAreRefused) {
  for (const char* id : {"", ".", "..", "../x", "a/b", ".hidden", "a b", "-x"}) {
    EXPECT_FALSE(is_valid_id(id)) << id;
    EXPECT_THROW(store_.create(id, "{}"), base::Error) << id;
    EXPECT_THROW(static_cast<void>(store_.read(id)), base::Error) << id;
    EXPECT_THROW(static_cast<void>(store_.lock_record(id)), base::Error) << id;
  }
  EXPECT_TRUE(is_valid_id(std::string(64, 'a')));
  EXPECT_FALSE(is_valid_id(std::string(65, 'a')));
}

}  // namespace
}  // namespace state
