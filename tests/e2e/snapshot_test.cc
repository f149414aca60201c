// A VM saved while it runs, and clones of it: the same container, other VMs.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "storage/sparse_copy.h"
#include "tests/support/fcvm.h"

namespace tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Json = nlohmann::json;

// Removed when it goes out of scope, whatever became of it.
struct Tag {
  std::string name = unique_name("snap");
  Tag() = default;
  Tag(const Tag&) = delete;
  Tag& operator=(const Tag&) = delete;
  ~Tag() { fcvm({"snapshot", "rm", name}); }
  std::filesystem::path file(const std::string& name_in_it) const {
    return data_dir() / "snapshots" / name / name_in_it;
  }
};

Outcome create(const std::string& vm, const Tag& tag) {
  return fcvm({"snapshot", "create", "--tag", tag.name, vm});
}

// A clone that runs, removed at the end.
struct Clone {
  std::string name = unique_name("clone");
  Outcome outcome;
  explicit Clone(const Tag& tag)
      : outcome(fcvm({"snapshot", "run", "--snapshot", tag.name, "--name", name, "-d"})) {}
  Clone(const Clone&) = delete;
  Clone& operator=(const Clone&) = delete;
  ~Clone() { fcvm({"rm", "-f", name}); }

  std::string exec(const std::vector<std::string>& command,
                   const std::vector<std::string>& flags = {}) const {
    std::vector<std::string> args{"exec"};
    args.insert(args.end(), flags.begin(), flags.end());
    args.push_back(name);
    args.insert(args.end(), command.begin(), command.end());
    const Outcome done = fcvm(args);
    EXPECT_EQ(done.status, 0) << done.err;
    return done.out;
  }
  std::string sh(const std::string& script) const { return exec({"/bin/sh", "-c", script}); }
};

std::string digest_of(const std::filesystem::path& file) {
  const base::Fd fd = base::open_file(file, O_RDONLY);
  return storage::content_digest(fd);
}

// On USR1 it tells what it has in memory.
std::vector<std::string> remembering_command() {
  return {"/bin/sh", "-c",
          "trap 'exit 0' TERM; secret=$(cat /proc/sys/kernel/random/uuid); "
          "trap 'echo \"remembered $secret\"' USR1; echo \"knows $secret\"; echo ready; "
          "while :; do sleep 1 & wait $!; done"};
}

std::string word_after(const std::string& text, const std::string& word) {
  const auto at = text.find(word + " ");
  if (at == std::string::npos) return {};
  const auto from = at + word.size() + 1;
  return text.substr(from, text.find('\n', from) - from);
}

struct SnapshotTest : ::testing::Test {
  void SetUp() override { FCVM_REQUIRE(vm); }
  LeakCheck leaks;
};

TEST_F(SnapshotTest, ClonesGoOnWhereTheirParentWasWithIdentitiesOfTheirOwn) {
  const Vm parent({}, remembering_command());
  ASSERT_EQ(parent.exec({"/bin/sh", "-c", "echo from-the-parent > /note"}).status, 0);
  const std::string secret = word_after(fcvm({"logs", parent.name()}).out, "knows");
  ASSERT_EQ(secret.size(), 36U);
  const Tag tag;
  const Outcome created = create(parent.name(), tag);
  ASSERT_EQ(created.status, 0) << created.err;
  EXPECT_EQ(created.out, tag.name + "\n");
  EXPECT_THAT(created.err, HasSubstr("stood still for"));
  EXPECT_EQ(parent.exec({"cat", "/note"}).out, "from-the-parent\n") << "the parent goes on";
  const std::string memory = digest_of(tag.file("memory.bin"));
  const std::string disk = digest_of(tag.file("disk.raw"));

  const Clone one(tag);
  ASSERT_EQ(one.outcome.status, 0) << one.outcome.err;
  const Clone two(tag);
  ASSERT_EQ(two.outcome.status, 0) << two.outcome.err;
  std::set<std::string> host_names{parent.exec({"hostname"}).out};
  std::set<std::string> uuids;
  std::set<std::string> random;
  std::set<std::string> machine_ids;
  for (const Clone* clone : {&one, &two}) {
    EXPECT_EQ(inspect(clone->name, "/State/Status"), "running");
    EXPECT_EQ(clone->sh("cat /note"), "from-the-parent\n");
    const std::string host_name = clone->sh("hostname");
    EXPECT_EQ(host_name, inspect(clone->name, "/Id").substr(0, 12) + "\n");
    EXPECT_EQ(clone->sh("cat /etc/hostname; grep -c $(hostname) /etc/hosts"),
              host_name.substr(0, 12) + "1\n");
    host_names.insert(host_name);
    uuids.insert(clone->sh("cat /proc/sys/kernel/random/uuid"));
    random.insert(clone->sh("head -c 32 /dev/urandom | md5sum"));
    machine_ids.insert(
        clone->exec({"/run/fcvm/rootfs/bin/busybox", "cat", "/etc/machine-id"}, {"--vm"}));
    const std::time_t before = std::time(nullptr);
    const std::time_t seen = std::stoll(clone->sh("date +%s"));
    EXPECT_GE(seen, before - 1);
    EXPECT_LE(seen, std::time(nullptr) + 1);
    // The first process is the parent's, with what it had in memory.
    ASSERT_EQ(fcvm({"kill", "-s", "USR1", clone->name}).status, 0);
    const Outcome followed = [&] {
      Outcome logs;
      for (int i = 0; i < 100 && word_after(logs.out, "remembered").empty(); ++i) {
        logs = fcvm({"logs", clone->name});
        clone->sh("true");  // time for it to say so
      }
      return logs;
    }();
    EXPECT_EQ(word_after(followed.out, "remembered"), secret);
    EXPECT_THAT(followed.out, Not(HasSubstr("ready"))) << "what it said before is its parent's";
    clone->sh("dd if=/dev/zero of=/big bs=1M count=8 2>/dev/null; rm /note; sync");
  }
  EXPECT_EQ(host_names.size(), 3U);
  EXPECT_EQ(uuids.size(), 2U);
  EXPECT_EQ(random.size(), 2U);
  EXPECT_EQ(machine_ids.size(), 2U);
  EXPECT_EQ(parent.exec({"cat", "/note"}).out, "from-the-parent\n");

  const Outcome in_use = fcvm({"snapshot", "rm", tag.name});
  EXPECT_EQ(in_use.status, 125);
  EXPECT_THAT(in_use.err, HasSubstr("in use"));
  EXPECT_THAT(in_use.err, HasSubstr(one.name));
  const Json listed = Json::parse(fcvm({"snapshot", "ls", "--json"}).out);
  bool found = false;
  for (const Json& entry : listed) {
    if (entry.at("tag") != tag.name) continue;
    found = true;
    EXPECT_EQ(entry.at("clones").size(), 2U);
    EXPECT_EQ(entry.at("memory_bytes"), 128U << 20);
    EXPECT_GT(entry.at("exclusive_bytes").get<std::uint64_t>(), 0U);
  }
  EXPECT_TRUE(found);

  // A stop lets it end by itself; then it boots from its own disk.
  const std::string one_host = one.sh("hostname");
  EXPECT_EQ(fcvm({"stop", one.name}).status, 0);
  EXPECT_EQ(inspect(one.name, "/State/ExitCode"), "0");
  const Outcome again = fcvm({"start", one.name});
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(one.sh("ls /big"), "/big\n");
  EXPECT_EQ(one.sh("hostname; echo $(cat /etc/hostname); grep -c $(hostname) /etc/hosts"),
            one_host + one_host + "1\n");
  EXPECT_EQ(fcvm({"rm", "-f", one.name}).status, 0);
  EXPECT_EQ(fcvm({"rm", "-f", two.name}).status, 0);
  EXPECT_EQ(digest_of(tag.file("memory.bin")), memory);
  EXPECT_EQ(digest_of(tag.file("disk.raw")), disk);
  EXPECT_EQ(fcvm({"snapshot", "rm", tag.name}).status, 0);
  EXPECT_FALSE(std::filesystem::exists(tag.file("")));
}

TEST_F(SnapshotTest, NoProcessRunsWithTheParentsClockOrRandomNumbers) {
  const Vm parent({}, {"/bin/sh", "-c",
                       "trap 'exit 0' TERM; echo ready; while :; do "
                       "echo \"$(date +%s) $(cat /proc/sys/kernel/random/uuid)\"; done"});
  const Tag tag;
  const Outcome created = create(parent.name(), tag);
  ASSERT_EQ(created.status, 0) << created.err;
  std::set<std::string> seen;
  for (int i = 0; i < 2; ++i) {
    const std::time_t before = std::time(nullptr);
    const Clone clone(tag);
    ASSERT_EQ(clone.outcome.status, 0) << clone.outcome.err;
    std::vector<std::string> lines;
    for (int tries = 0; tries < 100 && lines.size() < 5; ++tries) {
      clone.sh("true");
      std::istringstream text(fcvm({"logs", clone.name}).out);
      lines.clear();
      for (std::string line; std::getline(text, line);) lines.push_back(line);
    }
    ASSERT_GE(lines.size(), 5U);
    // Of the first line a part may have been made before the snapshot.
    for (std::size_t n = 1; n < lines.size(); ++n) {
      EXPECT_GE(std::stoll(lines[n]), before) << lines[n];
      EXPECT_TRUE(seen.insert(lines[n].substr(lines[n].find(' '))).second) << lines[n];
    }
  }
}

// A memory that was loaded once is never loaded again over the disk its guest has written to.
TEST_F(SnapshotTest, CloneWhoseFirstLifeWasCutShortBootsFromItsDisk) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const Vm parent({}, remembering_command());
  const std::string secret = word_after(fcvm({"logs", parent.name()}).out, "knows");
  ASSERT_EQ(parent.exec({"/bin/sh", "-c", "echo 192.0.2.7 mine >> /etc/hosts"}).status, 0);
  const Tag tag;
  ASSERT_EQ(create(parent.name(), tag).status, 0);
  {
    const Clone clone(tag);
    ASSERT_EQ(clone.outcome.status, 0) << clone.outcome.err;
    EXPECT_EQ(clone.sh("grep -c mine /etc/hosts; grep -c $(hostname) /etc/hosts"), "1\n1\n");
  }
  for (const char* point : {"monitor.vmm", "monitor.asked"}) {
    const std::string name = unique_name("clone");
    const RemoveAtEnd remove(name);
    Command command = fcvm_command({"snapshot", "run", "--snapshot", tag.name, "--name", name});
    command.env = {"FCVM_FAULT=" + std::string(point) + "=kill"};
    EXPECT_NE(run(std::move(command)).status, 0) << point;
    ASSERT_EQ(inspect(name, "/State/Status"), "exited") << point;
    const Outcome again = fcvm({"start", name});
    EXPECT_EQ(again.status, 0) << point << ": " << again.err;
    std::string knows;
    for (int i = 0; i < 100 && knows.empty(); ++i) {
      EXPECT_EQ(fcvm({"exec", name, "true"}).status, 0) << point;  // time for it to say so
      knows = word_after(fcvm({"logs", name}).out, "knows");
    }
    EXPECT_EQ(knows.size(), 36U) << point << ": its container began anew";
    EXPECT_NE(knows, secret) << point;
  }
}

TEST_F(SnapshotTest, CommandOfACloneDecidesItsStatusAndTheCloneGoes) {
  const Vm parent;
  const Tag tag;
  ASSERT_EQ(create(parent.name(), tag).status, 0);
  const std::string name = unique_name("clone");
  const Outcome done = fcvm({"snapshot", "run", "--snapshot", tag.name, "--name", name, "--exec",
                             "echo from $(hostname); exit 3"});
  EXPECT_EQ(done.status, 3) << done.err;
  EXPECT_THAT(done.out, HasSubstr("from "));
  EXPECT_EQ(inspect(name, "/Id"), "");
}

TEST_F(SnapshotTest, DamagedSnapshotIsRefusedAndLeavesNothing) {
  const Vm parent;
  const Tag tag;
  ASSERT_EQ(create(parent.name(), tag).status, 0);
  const auto refused = [&](const std::string& why) {
    const std::string name = unique_name("clone");
    const Outcome run = fcvm({"snapshot", "run", "--snapshot", tag.name, "--name", name, "-d"});
    EXPECT_EQ(run.status, 125);
    EXPECT_THAT(run.err, HasSubstr(why));
    EXPECT_EQ(inspect(name, "/Id"), "") << "nothing was started";
  };
  for (const char* file : {"memory.bin", "disk.raw", "vmstate.bin"}) {
    const std::filesystem::path path = tag.file(file);
    const base::Fd fd = base::open_file(path, O_RDWR);
    char byte = 0;
    const auto size = static_cast<off_t>(std::filesystem::file_size(path));
    // A byte of data: the last 4 KiB of memory may be a hole, which is as good.
    ASSERT_EQ(::pread(fd.get(), &byte, 1, size / 2), 1);
    const char other = static_cast<char>(byte + 1);
    ASSERT_EQ(::pwrite(fd.get(), &other, 1, size / 2), 1);
    refused("was altered");
    ASSERT_EQ(::pwrite(fd.get(), &byte, 1, size / 2), 1);
    ASSERT_EQ(::ftruncate(fd.get(), size - 1), 0);
    refused("bytes instead of");
    ASSERT_EQ(::ftruncate(fd.get(), size), 0);
  }
  Json record = Json::parse(std::ifstream(tag.file("snapshot.json")));
  record["requirements"]["hypervisor"] = "qemu 1.0";
  std::ofstream(tag.file("snapshot.json")) << record.dump();
  refused("another hypervisor");
}

TEST_F(SnapshotTest, WhateverFailsWhileItIsSavedTheVmGoesOnAndNothingIsLeft) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  for (const char* point : {"save.quiesced", "save.paused", "save.copied"}) {
    const std::string name = unique_name("parent");
    const RemoveAtEnd remove(name);
    Command command = fcvm_command(run_args({"-d", "--name", name}, Vm::sleeping_command()));
    command.env = {"FCVM_FAULT=" + std::string(point) + "=ENOSPC"};
    ASSERT_EQ(run(std::move(command)).status, 0);
    const Tag tag;
    const Outcome created = create(name, tag);
    EXPECT_EQ(created.status, 125) << point;
    EXPECT_THAT(created.err, HasSubstr("No space left on device")) << point;
    EXPECT_EQ(fcvm({"exec", name, "echo", "goes on"}).out, "goes on\n") << point;
    EXPECT_FALSE(std::filesystem::exists(tag.file(""))) << point;
  }
}

TEST_F(SnapshotTest, KilledCommandsLeaveAWholeSnapshotOrNone) {
  FCVM_REQUIRE_THAT(build, missing_fault_points());
  const Vm parent;
  const auto killed_at = [](const std::string& point, const std::vector<std::string>& args) {
    Command command = fcvm_command(args);
    command.env = {"FCVM_FAULT=" + point + "=kill"};
    EXPECT_NE(run(std::move(command)).status, 0) << point;
  };
  for (const char* point : {"snapshot.staged", "snapshot.saved", "snapshot.described"}) {
    const Tag tag;
    killed_at(point, {"snapshot", "create", "--tag", tag.name, parent.name()});
    EXPECT_EQ(fcvm({"snapshot", "ls", "-q"}).out.find(tag.name), std::string::npos) << point;
    for (const auto& entry : std::filesystem::directory_iterator(data_dir() / "snapshots")) {
      EXPECT_THAT(entry.path().string(), Not(HasSubstr(tag.name))) << point;
    }
  }
  const Tag tag;
  killed_at("snapshot.published", {"snapshot", "create", "--tag", tag.name, parent.name()});
  EXPECT_EQ(parent.exec({"echo", "goes on"}).out, "goes on\n");
  for (const char* point : {"clone.record", "clone.disk", "clone.plan"}) {
    const std::string name = unique_name("clone");
    killed_at(point, {"snapshot", "run", "--snapshot", tag.name, "--name", name, "-d"});
    EXPECT_EQ(inspect(name, "/Id"), "") << point;
  }
  const Clone clone(tag);
  EXPECT_EQ(clone.outcome.status, 0) << clone.outcome.err;
}

TEST_F(SnapshotTest, WhatCannotBeSavedOrNamedIsRefused) {
  const Vm parent;
  const Tag tag;
  const auto expect_error = [](const std::vector<std::string>& args, const std::string& why) {
    const Outcome outcome = fcvm(args);
    EXPECT_EQ(outcome.status, 125) << outcome.out;
    EXPECT_THAT(outcome.err, HasSubstr(why));
  };
  expect_error({"snapshot", "create", parent.name()}, "--tag");
  expect_error({"snapshot", "create", "--tag", "../x", parent.name()}, "malformed tag");
  expect_error({"snapshot", "create", "--tag", tag.name, "nobody"}, "no VM");
  expect_error({"snapshot", "run", "--snapshot", tag.name}, "no snapshot");
  expect_error({"snapshot", "run"}, "--snapshot");
  expect_error({"snapshot", "rm", tag.name}, "no snapshot");
  expect_error({"snapshot", "inspect", tag.name}, "no snapshot");
  ASSERT_EQ(create(parent.name(), tag).status, 0);
  expect_error({"snapshot", "create", "--tag", tag.name, parent.name()}, "already");
  expect_error({"snapshot", "run", "--snapshot", tag.name, "--name", parent.name()}, "taken");
  const Clone clone(tag);
  ASSERT_EQ(clone.outcome.status, 0) << clone.outcome.err;
  ASSERT_EQ(fcvm({"pause", parent.name()}).status, 0);
  expect_error({"snapshot", "create", "--tag", tag.name + "2", parent.name()}, "paused");
  EXPECT_EQ(fcvm({"unpause", parent.name()}).status, 0);
  EXPECT_EQ(fcvm({"stop", "-t", "0", parent.name()}).status, 0);
  expect_error({"snapshot", "create", "--tag", tag.name + "2", parent.name()}, "not running");
}

}  // namespace
}  // namespace tests
