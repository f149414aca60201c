#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/leak_check.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace tests {
namespace {

using std::chrono::milliseconds;

TEST(LeakCheckRootTest, MountIsReportedUntilUnmounted) {
  FCVM_REQUIRE(root);
  TempDir dir;
  LeakCheck before(dir.path());
  ASSERT_EQ(::mount("none", dir.path().c_str(), "tmpfs", 0, nullptr), 0);
  const std::string diff = before.diff(milliseconds(0));
  ASSERT_EQ(::umount(dir.path().c_str()), 0);
  EXPECT_NE(diff.find("mount tmpfs of none"), std::string::npos) << diff;
  EXPECT_EQ(before.diff(), "");
}

TEST(LeakCheckRootTest, MountInAnotherNamespaceIsReported) {
  FCVM_REQUIRE(root);
  TempDir dir;
  LeakCheck before(dir.path());
  int ready[2];
  int hold[2];
  ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
  ASSERT_EQ(::pipe2(hold, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::close(hold[1]);
    const bool mounted = ::unshare(CLONE_NEWNS) == 0 &&
                         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                         ::mount("none", dir.path().c_str(), "tmpfs", 0, nullptr) == 0;
    char byte = mounted ? 'y' : 'n';
    if (::write(ready[1], &byte, 1) == 1) {
      // Ends when the parent closes its side.
      [[maybe_unused]] const ssize_t end = ::read(hold[0], &byte, 1);
    }
    ::_exit(0);
  }
  ::close(hold[0]);
  char byte = 'n';
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  const std::string diff = before.diff(milliseconds(0));
  ::close(hold[1]);
  ::close(ready[0]);
  ::close(ready[1]);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ASSERT_EQ(byte, 'y');
  EXPECT_NE(diff.find("mount tmpfs of none"), std::string::npos) << diff;
  EXPECT_EQ(before.diff(), "");
}

}  // namespace
}  // namespace tests
