// fcvm system: what is stored, what may go, what a crash left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

nlohmann::json usage_of(const std::string& type) {
  for (const auto& row : nlohmann::json::parse(fcvm({"system", "df", "--json"}).out)) {
    if (row.at("type") == type) return row;
  }
  return nullptr;
}

TEST(SystemTest, DfCountsWhatIsStored) {
  const auto before = usage_of("Containers");
  const Vm vm;
  EXPECT_THAT(fcvm({"system", "df"}).out, StartsWith("TYPE "));
  const auto now = usage_of("Containers");
  EXPECT_EQ(now.at("total"), before.at("total").get<int>() + 1);
  EXPECT_EQ(now.at("active"), before.at("active").get<int>() + 1);
  EXPECT_GT(usage_of("Images").at("active"), 0);
  EXPECT_GT(usage_of("Assets").at("size_bytes"), 1'000'000);
  EXPECT_THAT(fcvm({"system", "df", "--format", "{{.Type}}"}).out, StartsWith("Images\n"));
  EXPECT_EQ(fcvm({"system", "df", "--format", "{{.Nope}}"}).status, 125);
}

TEST(SystemTest, PruneAsksAndSparesWhatRuns) {
  const Vm running;
  const std::string name = unique_name("prune");
  const RemoveAtEnd remove(name);
  ASSERT_EQ(fcvm(run_args({"--name", name}, {"true"})).status, 0);
  const std::string id = inspect(name, "/Id");

  const Outcome refused = fcvm({"system", "prune"}, "n\n");
  EXPECT_EQ(refused.status, 0);
  EXPECT_THAT(refused.out, HasSubstr("[y/N]"));
  EXPECT_EQ(inspect(name, "/State/Status"), "exited");

  const Outcome pruned = fcvm({"system", "prune"}, "y\n");
  EXPECT_EQ(pruned.status, 0) << pruned;
  EXPECT_THAT(pruned.out, HasSubstr("Deleted Containers\n"));
  EXPECT_THAT(pruned.out, HasSubstr(id + "\n"));
  EXPECT_THAT(pruned.out, HasSubstr("Total reclaimed space: "));
  EXPECT_THAT(pruned.out, Not(HasSubstr(running.id())));
  EXPECT_EQ(fcvm({"inspect", name}).status, 125);
  EXPECT_EQ(inspect(running.name(), "/State/Status"), "running");
  EXPECT_EQ(fcvm({"system", "prune", "-f"}).out, "Total reclaimed space: 0B\n");
}

TEST(SystemTest, ReconcileSaysWhatACrashLeft) {
  const Vm vm;
  const int monitor = std::stoi(inspect(vm.name(), "/State/MonitorPid"));
  ASSERT_EQ(::kill(monitor, SIGKILL), 0);
  ASSERT_TRUE(wait_for_end_of(monitor));
  const std::string left = data_dir() / "vm-disks" / std::string(64, 'e');
  std::filesystem::create_directory(left);
  const Outcome outcome = fcvm({"system", "reconcile"});
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_THAT(outcome.out, HasSubstr("VM '" + vm.name() + "': its monitor was killed\n"));
  EXPECT_THAT(outcome.out, HasSubstr(left));
  EXPECT_FALSE(std::filesystem::exists(left));
  EXPECT_EQ(fcvm({"system", "reconcile", "--json"}).out, "[]\n");
}

}  // namespace
}  // namespace tests
