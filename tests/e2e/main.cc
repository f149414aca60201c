// The end-to-end tests' main: what they need is looked at once, and after the last test the machine
// must look as before the first.
#include <gtest/gtest.h>

#include <iostream>
#include <memory>

#include "tests/support/leak_check.h"
#include "tests/support/requirements.h"

namespace {

// ctest shows a test that ends with it as skipped.
constexpr int kSkipped = 77;

class NothingIsLeft : public testing::Environment {
 public:
  void SetUp() override { before_ = std::make_unique<tests::LeakCheck>(); }
  void TearDown() override {
    EXPECT_EQ(before_->diff(), "") << "left behind by the tests above";
    before_.reset();
  }

 private:
  std::unique_ptr<tests::LeakCheck> before_;
};

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (!GTEST_FLAG_GET(list_tests)) {
    const std::string missing = tests::missing_for(tests::Label::vm);
    if (!missing.empty()) {
      const bool required = tests::is_required(tests::Label::vm);
      std::cout << (required ? "REQUIRE_TESTS demands 'vm' but: " : "skipped: ") << missing << "\n";
      return required ? 1 : kSkipped;
    }
    testing::AddGlobalTestEnvironment(new NothingIsLeft);
  }
  return RUN_ALL_TESTS();
}
