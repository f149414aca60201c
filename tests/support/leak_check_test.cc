#include "tests/support/leak_check.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "tests/support/temp_dir.h"

namespace tests {
namespace {

using std::chrono::milliseconds;
using testing::AssertionFailure;
using testing::AssertionResult;
using testing::AssertionSuccess;

AssertionResult names(const std::string& diff, const std::string& what) {
  if (diff.find(what) != std::string::npos) {
    return AssertionSuccess();
  }
  return AssertionFailure() << "'" << what << "' is not in the difference:\n" << diff;
}

// A sleeping child with the environment of the test; killed and reaped when destroyed.
class Sleeper {
 public:
  Sleeper() {
    std::string program = "sleep";
    std::string argument = "1000";
    char* argv[] = {program.data(), argument.data(), nullptr};
    if (::posix_spawnp(&pid_, "sleep", nullptr, nullptr, argv, environ) != 0) {
      pid_ = -1;
    }
  }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper() { end(); }

  void end() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
      pid_ = -1;
    }
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

TEST(LeakCheckTest, NothingDoneIsEmpty) {
  TempDir dir;
  LeakCheck before(dir.path());
  EXPECT_EQ(before.diff(milliseconds(0)), "");
}

TEST(LeakCheckTest, RunningChildIsReportedAndEndedChildIsNot) {
  TempDir dir;
  LeakCheck before(dir.path());
  Sleeper child;
  ASSERT_GT(child.pid(), 0);
  EXPECT_TRUE(names(before.diff(milliseconds(0)), "process " + std::to_string(child.pid())));
  child.end();
  EXPECT_EQ(before.diff(), "");
}

TEST(LeakCheckTest, ChildStartedBeforeTheCheckIsNotReported) {
  TempDir dir;
  Sleeper child;
  LeakCheck before(dir.path());
  EXPECT_EQ(before.diff(milliseconds(0)), "");
}

TEST(LeakCheckTest, UnreapedChildIsReported) {
  TempDir dir;
  LeakCheck before(dir.path());
  Sleeper child;
  ASSERT_GT(child.pid(), 0);
  ::kill(child.pid(), SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child.pid()), &info, WEXITED | WNOWAIT), 0);
  EXPECT_TRUE(names(before.diff(milliseconds(0)), "zombie"));
}

TEST(LeakCheckTest, FileOfAVmIsReported) {
  TempDir dir;
  dir.write("state/old.json", "{}");
  LeakCheck before(dir.path());
  dir.write("vm-disks/x/disk.raw", "");
  const std::string diff = before.diff(milliseconds(0));
  EXPECT_TRUE(names(diff, "vm-disks/x/disk.raw"));
  EXPECT_EQ(diff.find("old.json"), std::string::npos) << diff;
}

TEST(LeakCheckTest, OpenDescriptorIsReported) {
  TempDir dir;
  LeakCheck before(dir.path());
  const int fd = ::open(dir.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(names(before.diff(milliseconds(0)), "descriptor of the test itself"));
  ::close(fd);
}

TEST(LeakCheckTest, BoundSocketIsReported) {
  TempDir dir;
  LeakCheck before(dir.path());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(fd, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string path = (dir / "monitor.sock").string();
  ASSERT_LT(path.size(), sizeof(address.sun_path));
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  // SAFETY: bind takes every address family through sockaddr.
  ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_TRUE(names(before.diff(milliseconds(0)), "socket " + path));
  ::close(fd);
}

}  // namespace
}  // namespace tests
