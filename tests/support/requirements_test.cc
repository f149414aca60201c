#include "tests/support/requirements.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "tests/support/temp_dir.h"

namespace tests {
namespace {

class EnvironmentGuard {
 public:
  EnvironmentGuard(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) {
      old_ = old;
    }
    ::setenv(name, value, 1);
  }
  EnvironmentGuard(const EnvironmentGuard&) = delete;
  EnvironmentGuard& operator=(const EnvironmentGuard&) = delete;
  ~EnvironmentGuard() {
    if (old_) {
      ::setenv(name_, old_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(RequirementsTest, NothingMissingRunsTheTest) {
  EXPECT_EQ(decide("", false), Verdict::run);
  EXPECT_EQ(decide("", true), Verdict::run);
}

TEST(RequirementsTest, MissingNeedSkipsUnlessRequired) {
  EXPECT_EQ(decide("no qemu", false), Verdict::skip);
  EXPECT_EQ(decide("no qemu", true), Verdict::fail);
}

TEST(RequirementsTest, RequireTestsNamesWholeLabelsOnly) {
  EnvironmentGuard list("REQUIRE_TESTS", "vmx,root");
  EXPECT_TRUE(is_required(Label::root));
  EXPECT_FALSE(is_required(Label::vm));
  EXPECT_FALSE(is_required(Label::docker));
}

TEST(RequirementsTest, ProgramThatIsNotThereIsNamed) {
  EXPECT_EQ(missing_program({"sh", "true"}), "");
  EXPECT_EQ(missing_program({"sh", "no-such-program"}),
            "no-such-program is not in PATH: install it");
}

TEST(RequirementsTest, VmWithoutAssetsNamesTheMissingFile) {
  TempDir empty;
  EnvironmentGuard data("FCVM_DATA_DIR", empty.path().c_str());
  EnvironmentGuard programs("FCVM_TEST_BIN_DIR", empty.path().c_str());
  EXPECT_NE(missing_for(Label::vm), "");
}

TEST(TempDirTest, DirectoryIsGoneAfterScope) {
  std::filesystem::path path;
  {
    TempDir dir;
    path = dir.path();
    EXPECT_EQ(read_file(dir.write("a/b", "text")), "text");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace tests
