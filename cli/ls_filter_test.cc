#include "cli/ls_filter.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace cli {
namespace {

vm::VmRecord example() {
  vm::VmRecord vm;
  vm.id = "abc123";
  vm.name = "web-1";
  vm.status = vm::VmStatus::kExited;
  vm.exit_code = 3;
  vm.image = "oci-archive:nginx.tar";
  vm.image_digest = "sha256:feed";
  vm.labels = {{"tier", "front"}, {"empty", ""}};
  return vm;
}

bool matches(const std::vector<std::string>& filters) {
  VmFilter filter;
  for (const auto& text : filters) filter.add(text);
  return filter.matches(example());
}

TEST(VmFilterTest, NoFilterMatchesEverything) {
  EXPECT_TRUE(matches({}));
}

TEST(VmFilterTest, NameIsARegularExpression) {
  EXPECT_TRUE(matches({"name=web"}));
  EXPECT_TRUE(matches({"name=^web-[0-9]$"}));
  EXPECT_FALSE(matches({"name=^eb"}));
}

TEST(VmFilterTest, IdIsABeginning) {
  EXPECT_TRUE(matches({"id=abc"}));
  EXPECT_FALSE(matches({"id=bc"}));
}

TEST(VmFilterTest, StatusAndExitCodeAreExact) {
  EXPECT_TRUE(matches({"status=exited"}));
  EXPECT_FALSE(matches({"status=running"}));
  EXPECT_TRUE(matches({"exited=3"}));
  EXPECT_FALSE(matches({"exited=0"}));
}

TEST(VmFilterTest, LabelsMatchByKeyOrByKeyAndValue) {
  EXPECT_TRUE(matches({"label=tier"}));
  EXPECT_TRUE(matches({"label=tier=front"}));
  EXPECT_TRUE(matches({"label=empty="}));
  EXPECT_FALSE(matches({"label=tier=back"}));
  EXPECT_FALSE(matches({"label=other"}));
}

TEST(VmFilterTest, AncestorIsTheImageByNameOrDigest) {
  EXPECT_TRUE(matches({"ancestor=oci-archive:nginx.tar"}));
  EXPECT_TRUE(matches({"ancestor=sha256:feed"}));
  EXPECT_TRUE(matches({"ancestor=feed"}));
  EXPECT_FALSE(matches({"ancestor=nginx"}));
}

TEST(VmFilterTest, OneKeyIsAlternativesAndDifferentKeysMustAllHold) {
  EXPECT_TRUE(matches({"name=nothing", "name=web"}));
  EXPECT_FALSE(matches({"name=web", "status=running"}));
}

TEST(VmFilterTest, StatusLooksAtVmsThatDoNotRun) {
  VmFilter by_name;
  by_name.add("name=x");
  EXPECT_FALSE(by_name.wants_all());
  VmFilter by_status;
  by_status.add("status=exited");
  EXPECT_TRUE(by_status.wants_all());
}

TEST(VmFilterTest, MalformedFiltersAreRefused) {
  for (const char* text : {"", "name", "name=", "colour=red", "status=asleep", "name=("}) {
    VmFilter filter;
    EXPECT_THROW(filter.add(text), base::Error) << text;
  }
}

}  // namespace
}  // namespace cli
