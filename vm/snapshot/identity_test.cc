#include "vm/snapshot/identity.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "vm/guest_paths.h"
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
  plan.boot.container.podman = {"run", "--hostname", old_id.substr(0, 12), "web"};
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
  EXPECT_EQ(plan.boot.container.podman[2], new_id.substr(0, 12));
  const auto config = nlohmann::json::parse(plan.boot.container.config_json);
  EXPECT_EQ(config["hostname"], new_id.substr(0, 12));
  EXPECT_EQ(config["process"]["env"][1], "HOSTNAME=" + new_id.substr(0, 12));
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
