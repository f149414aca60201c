#include "base/fault_point.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>

#include "base/error.h"
#include "tests/support/requirements.h"

namespace base {
namespace {

class FaultPointTest : public ::testing::Test {
 protected:
  void SetUp() override { FCVM_REQUIRE_THAT(build, tests::missing_fault_points()); }
  void TearDown() override { ::unsetenv("FCVM_FAULT"); }
  static void ask_for(const char* faults) { ::setenv("FCVM_FAULT", faults, 1); }
};

TEST_F(FaultPointTest, NothingHappensUnlessItIsNamed) {
  fault_point("a");
  ask_for("ab=ENOSPC,b=kill,,=kill,a,a=,a=nonsense");
  fault_point("a");
  ask_for("");
  fault_point("a");
}

TEST_F(FaultPointTest, NamedErrnoIsThrown) {
  ask_for("x=EIO,a=ENOSPC");
  try {
    fault_point("a");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.errnum(), ENOSPC);
  }
  try {
    fault_point("x");
    FAIL() << "nothing was thrown";
  } catch (const Error& error) {
    EXPECT_EQ(error.errnum(), EIO);
  }
}

TEST_F(FaultPointTest, DelayTakesItsTime) {
  ask_for("a=delay:30");
  const auto start = std::chrono::steady_clock::now();
  fault_point("a");
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(30));
}

TEST_F(FaultPointTest, KillAndStopSignalTheProcess) {
  const auto end_of_child = [](const char* faults) {
    const pid_t child = ::fork();
    if (child == 0) {
      ask_for(faults);
      fault_point("a");
      ::_exit(7);
    }
    int status = 0;
    ::waitpid(child, &status, WUNTRACED);
    if (WIFSTOPPED(status)) {
      ::kill(child, SIGCONT);
      int end = 0;
      ::waitpid(child, &end, 0);
      EXPECT_EQ(WEXITSTATUS(end), 7);
    }
    return status;
  };
  EXPECT_EQ(WTERMSIG(end_of_child("a=kill")), SIGKILL);
  EXPECT_TRUE(WIFSTOPPED(end_of_child("a=stop")));
  EXPECT_EQ(WEXITSTATUS(end_of_child("b=kill")), 7);
}

}  // namespace
}  // namespace base
