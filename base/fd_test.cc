#include "base/fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <thread>
#include <utility>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

bool is_open(int fd) {
  return ::fcntl(fd, F_GETFD) >= 0;
}

TEST(FdTest, ClosesOnceAndMovesWithoutClosing) {
  Fd first = make_event_fd();
  const int number = first.get();
  Fd second(std::move(first));
  EXPECT_FALSE(first.valid());
  EXPECT_EQ(second.get(), number);
  EXPECT_TRUE(is_open(number));
  second.reset();
  second.reset();
  EXPECT_FALSE(is_open(number));
}

TEST(FdTest, MoveAssignmentClosesTheOldDescriptor) {
  Fd target = make_event_fd();
  const int old = target.get();
  Fd source = make_event_fd();
  const int number = source.get();
  target = std::move(source);
  EXPECT_FALSE(is_open(old));
  EXPECT_EQ(target.get(), number);
  Fd& alias = target;
  target = std::move(alias);
  EXPECT_TRUE(is_open(number)) << "moved into itself";
}

TEST(FdTest, ReleaseGivesUpOwnership) {
  int number = -1;
  {
    Fd fd = make_event_fd();
    number = fd.release();
    EXPECT_FALSE(fd.valid());
  }
  ASSERT_TRUE(is_open(number));
  ::close(number);
}

TEST(FdTest, EverythingIsMadeCloseOnExec) {
  const tests::TempDir dir;
  const Pipe pipe = make_pipe();
  const SocketPair pair = make_socket_pair(SOCK_STREAM);
  const Fd event = make_event_fd();
  const Fd memory = make_memfd("m", 4096);
  const Fd copy = duplicate(event);
  const Fd file = open_file((dir / "f").string(), O_RDWR | O_CREAT, 0600);
  const Fd listener = listen_unix((dir / "s").string());
  const Fd client = connect_unix((dir / "s").string());
  for (const Fd* fd : {&pipe.read, &pipe.write, &pair.first, &pair.second, &event, &memory, &copy,
                       &file, &listener, &client}) {
    EXPECT_EQ(::fcntl(fd->get(), F_GETFD), FD_CLOEXEC);
  }
}

TEST(FdTest, OpenFailureNamesTheFileAndTryOpenReturnsNothing) {
  try {
    open_file("/nonexistent/file", O_RDONLY);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "opening '/nonexistent/file': No such file or directory");
  }
  EXPECT_FALSE(try_open_file("/nonexistent/file", O_RDONLY).valid());
  EXPECT_EQ(errno, ENOENT);
}

TEST(FdTest, ReadToEndStopsAtItsLimitAndReadExactlyAtAnEarlyEnd) {
  Pipe pipe = make_pipe();
  write_all(pipe.write, std::string_view("12345"));
  pipe.write.reset();
  EXPECT_THROW(read_to_end(pipe.read, 4), Error);

  Pipe other = make_pipe();
  write_all(other.write, std::string_view("123"));
  other.write.reset();
  std::array<std::byte, 4> out;
  EXPECT_THROW(read_exactly(other.read, out), Error);
}

TEST(FdTest, WaitForHonoursItsTimeout) {
  const Pipe pipe = make_pipe();
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(wait_for(pipe.read.get(), POLLIN, std::chrono::milliseconds(30)));
  EXPECT_GE(std::chrono::steady_clock::now() - start, std::chrono::milliseconds(29));
  write_all(pipe.write, std::string_view("x"));
  EXPECT_TRUE(wait_for(pipe.read.get(), POLLIN, std::chrono::milliseconds(-1)));
}

TEST(FdTest, UnixSocketsAreOwnerOnlyReplaceStaleFilesAndTakeLongPaths) {
  const tests::TempDir dir;
  const std::string deep = (dir / std::string(100, 'd')).string();
  ASSERT_EQ(::mkdir(deep.c_str(), 0700), 0);
  for (const std::string& path : {(dir / "s").string(), deep + "/socket"}) {
    EXPECT_FALSE(try_connect_unix(path).valid()) << "nothing there";
    { const Fd stale = listen_unix(path); }
    EXPECT_FALSE(try_connect_unix(path).valid()) << "nobody listens";
    const Fd listener = listen_unix(path);
    struct stat info {};
    ASSERT_EQ(::stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600U);
    const Fd client = try_connect_unix(path);
    ASSERT_TRUE(client.valid());
    const Fd server(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_EQ(peer_credentials(server).pid, ::getpid());
    EXPECT_EQ(peer_credentials(server).uid, ::getuid());
  }
  EXPECT_FALSE(try_connect_unix(deep + "/gone/socket").valid());
}

TEST(CloseFromTest, ClosesEverythingButWhatIsListed) {
  // In a child: the test's own descriptors have to stay.
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    for (int fd = 100; fd < 130; ++fd) ::dup2(2, fd);
    const std::array<int, 4> keep{120, 105, -1, 2};
    close_from(100, keep);
    bool good = is_open(2) && is_open(105) && is_open(120);
    for (int fd = 100; fd < 130; ++fd) {
      if (fd != 105 && fd != 120 && is_open(fd)) good = false;
    }
    close_from(100);
    for (int fd = 100; fd < 130; ++fd) good = good && !is_open(fd);
    ::_exit(good ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace base
