#include "vm/snapshot/identity.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"
#include "vm/guest_paths.h"
#include "vm/network_files.h"
#include "vm/podman_arguments.h"
#include "vm/snapshot/saved_files.h"
#include "vm/snapshot/snapshot.h"

namespace vm {
namespace {

TEST(ReplaceWordsTest, OnlyWholeWordsAreReplaced) {
  EXPECT_EQ(replace_words("127.0.0.1\tweb web1 my-web web.local\nweb", "web", "c1"),
            "127.0.0.1\tc1 web1 my-web web.local\nc1");
  EXPECT_EQ(replace_words("web", "", "x"), "web");
  EXPECT_EQ(replace_words("", "web", "x"), "");
}

TEST(IdentityTest, PlanOfACloneNamesTheParentNowhere) {
  const std::string old_id(64, 'a');
  const std::string new_id(64, 'c');
  LaunchPlan plan;
  plan.boot.host_name = old_id.substr(0, 12);
  plan.boot.machine_id = std::string(32, '0');
  plan.boot.container.id = old_id;
  image::ImageMeta image;
  image.digest = "sha256:" + std::string(64, 'e');
  RunOptions options;
  options.command = {"server", "--hostname=web", "--name=web"};
  GuestFacts facts;
  facts.vm_id = old_id;
  facts.vm_name = "web";
  BundleFiles bundle;
  bundle.hostname = old_id.substr(0, 12);
  plan.boot.container.podman = podman_arguments(image, options, facts, bundle);
  plan.boot.container.config_json =
      nlohmann::json{{"hostname", old_id.substr(0, 12)},
                     {"process", {{"env", {"A=1", "HOSTNAME=" + old_id.substr(0, 12)}}}}}
          .dump();
  plan.boot.files = {
      {std::string(kGuestHostsFile), "127.0.0.1\t" + old_id.substr(0, 12) + " web\n", 0644},
      {std::string(kGuestHostnameFile), old_id.substr(0, 12), 0644},
      {std::string(kGuestContainerenvFile), "name=\"web\"\nid=\"" + old_id + "\"\n", 0644},
      {"/etc/web", "web", 0644}};
  change_identity(plan, {old_id, "web", "", ""},
                  {new_id, "clone", new_id.substr(0, 12), std::string(32, '1')});
  EXPECT_EQ(plan.boot.host_name, new_id.substr(0, 12));
  EXPECT_EQ(plan.boot.machine_id, std::string(32, '1'));
  EXPECT_EQ(plan.boot.files[0].content, "127.0.0.1\t" + new_id.substr(0, 12) + " clone\n");
  EXPECT_EQ(plan.boot.files[1].content, new_id.substr(0, 12));
  EXPECT_EQ(plan.boot.files[2].content, "name=\"clone\"\nid=\"" + new_id + "\"\n");
  EXPECT_EQ(plan.boot.files[3].content, "web") << "a file of the container's own affairs";
  facts.vm_id = new_id;
  facts.vm_name = "clone";
  bundle.hostname = new_id.substr(0, 12);
  EXPECT_EQ(plan.boot.container.podman, podman_arguments(image, options, facts, bundle))
      << "as if the clone had been made anew, its command included";
  const auto config = nlohmann::json::parse(plan.boot.container.config_json);
  EXPECT_EQ(config["hostname"], new_id.substr(0, 12));
  EXPECT_EQ(config["process"]["env"][1], "HOSTNAME=" + new_id.substr(0, 12));
}

TEST(OwnLineTest, OnlyTheContainersOwnLineGetsTheNamesOfTheClone) {
  const Identity from{"", "db", "db", ""};
  const Identity to{"", "clone", "c1", ""};
  HostsInput input;
  input.extra = {{"other", "10.0.0.4"}};
  input.container_ip = "10.0.2.100";
  input.container_names = {"db", "web"};
  const std::string own = make_hosts(input);
  ASSERT_TRUE(own.ends_with("10.0.2.100\tdb web\n")) << own;
  EXPECT_EQ(replace_own_line(own, from, to),
            own.substr(0, own.find("10.0.2.100")) + "10.0.2.100\tc1 clone\n");
  // Names that a user has given to other addresses.
  input.extra = {{"db", "10.0.0.5"}};
  input.container_names = {"db"};
  const std::string users = make_hosts(input);
  EXPECT_EQ(replace_own_line(users, from, to), users);
  input.extra = {};
  input.container_names = {"localhost"};
  const std::string local = make_hosts(input);
  EXPECT_EQ(replace_own_line(local, {"", "db", "localhost", ""}, to), local);
  EXPECT_EQ(replace_own_line("", from, to), "");
}

TEST(SavedFilesTest, OnlyTheSnapshotThatWasVerifiedIsLoaded) {
  const tests::TempDir directory;
  const auto why_not = [&](const RestorePlan& plan) -> std::string {
    try {
      lock_snapshot(plan);
    } catch (const base::Error& error) {
      return error.what();
    }
    return {};
  };
  for (const char* name : {kSnapshotRecordFile, kSnapshotStateFile, kSnapshotMemoryFile}) {
    base::write_file(directory / name, "one");
  }
  RestorePlan plan{directory.path(), 2, stamps_of_saved_machine(directory.path())};
  EXPECT_EQ(why_not(plan), "");
  // Another of the same tag.
  base::replace_file(directory / kSnapshotMemoryFile, "two");
  EXPECT_NE(why_not(plan).find("is not the one"), std::string::npos) << why_not(plan);
  plan.stamps = stamps_of_saved_machine(directory.path());
  EXPECT_EQ(why_not(plan), "");
  std::filesystem::remove(directory / kSnapshotRecordFile);
  EXPECT_NE(why_not(plan).find("was removed"), std::string::npos) << why_not(plan);
}

TEST(SnapshotRecordTest, RecordIsReadBackAsItWasWritten) {
  Snapshot snapshot;
  snapshot.tag = "warm";
  snapshot.created_ns = 5;
  snapshot.vm.id = std::string(64, 'a');
  snapshot.vm.name = "web";
  snapshot.requirements = {{"hypervisor", "qemu 7.2"}};
  snapshot.devices = {"root", "image"};
  snapshot.link_epoch = 3;
  snapshot.files = {{"memory.bin", 4096, "abc", "1 2 3"}};
  const Snapshot read = parse_snapshot(to_json(snapshot));
  EXPECT_EQ(to_json(read), to_json(snapshot));
  EXPECT_EQ(read.file("memory.bin").bytes, 4096U);
  EXPECT_THROW(read.file("disk.raw"), base::Error);
  EXPECT_THROW(parse_snapshot("{}"), base::Error);
  EXPECT_THROW(parse_snapshot("{\"schema\": 99}"), base::Error);
}

TEST(TagTest, OnlyNamesThatAreFoldersAreTaken) {
  for (const char* good : {"a", "nginx-warm", "1.2_x", "A"}) EXPECT_NO_THROW(check_tag(good));
  for (const std::string& bad :
       {std::string(), std::string(".hidden"), std::string("../up"), std::string("a/b"),
        std::string("a b"), std::string(64, 'a'), std::string("-x")}) {
    EXPECT_THROW(check_tag(bad), base::Error) << bad;
  }
}

}  // namespace
}  // namespace vm
