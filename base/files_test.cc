#include "base/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "base/error.h"
#include "tests/support/temp_dir.h"

namespace base {
namespace {

using std::chrono::milliseconds;

mode_t mode_of(const std::string& path) {
  struct stat info {};
  ::stat(path.c_str(), &info);
  return info.st_mode & 07777;
}

TEST(FilesTest, ReadFileHonoursItsLimitAndNamesTheFile) {
  const tests::TempDir dir;
  const std::string path = dir.write("f", "12345").string();
  EXPECT_EQ(read_file(path, 5), "12345");
  try {
    read_file(path, 4);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
  }
  EXPECT_FALSE(try_read_file((dir / "none").string()));
  EXPECT_FALSE(try_read_file(path + "/below"));
  EXPECT_THROW(read_file((dir / "none").string()), Error);
}

TEST(FilesTest, ReplaceFileSetsModeAndLeavesNothingElse) {
  const tests::TempDir dir;
  const std::string path = (dir / "f").string();
  replace_file(path, "one");
  EXPECT_EQ(read_file(path), "one");
  EXPECT_EQ(mode_of(path), 0600U);
  replace_file(path, "two", 0640, true);
  EXPECT_EQ(read_file(path), "two");
  EXPECT_EQ(list_directory(dir.path().string()), std::vector<std::string>{"f"});
}

TEST(FilesTest, ReplaceFileThatFailsKeepsTheOldOne) {
  const tests::TempDir dir;
  const std::string path = (dir / "d").string();
  make_directories(path + "/x");
  EXPECT_THROW(replace_file(path, "data"), Error);
  EXPECT_TRUE(is_directory(path));
  EXPECT_EQ(list_directory(dir.path().string()), std::vector<std::string>{"d"});
}

TEST(FilesTest, ReplaceFileStepsOverANameThatAKilledProcessLeft) {
  const tests::TempDir dir;
  const std::string path = (dir / "f").string();
  for (int i = 0; i < 100; ++i) {
    dir.write(cat("f.", ::getpid(), ".", i, ".tmp"), "stale");
  }
  replace_file(path, "new");
  EXPECT_EQ(read_file(path), "new");
  EXPECT_EQ(list_directory(dir.path().string()).size(), 101U) << "a stale file was removed";
}

TEST(FilesTest, KilledWhileReplacingLeavesTheOldOrTheNewWhole) {
  const tests::TempDir dir;
  const std::string path = (dir / "f").string();
  const std::string a(300'000, 'a');
  const std::string b(200'000, 'b');
  replace_file(path, a);
  for (int round = 0; round < 20; ++round) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      for (;;) {
        replace_file(path, b);
        replace_file(path, a);
      }
    }
    ::usleep(static_cast<useconds_t>(1000 + round * 300));
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    const std::string now = read_file(path);
    ASSERT_TRUE(now == a || now == b) << "torn after round " << round;
  }
}

TEST(FilesTest, ReaderNeverSeesAHalfReplacedFile) {
  const tests::TempDir dir;
  const std::string path = (dir / "f").string();
  const std::string a(100'000, 'a');
  const std::string b(150'000, 'b');
  replace_file(path, a);
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    while (!stop) {
      replace_file(path, b);
      replace_file(path, a);
    }
  });
  bool whole = true;
  for (int i = 0; i < 300; ++i) {
    const std::string now = read_file(path);
    whole = whole && (now == a || now == b);
  }
  stop = true;
  writer.join();
  EXPECT_TRUE(whole);
}

TEST(FilesTest, MakeDirectoriesMakesParentsAndRefusesFiles) {
  const tests::TempDir dir;
  const std::string path = (dir / "a/b/c").string();
  make_directories(path, 0700);
  make_directories(path + "/", 0755);
  EXPECT_TRUE(is_directory(path));
  EXPECT_EQ(mode_of(path), 0700U) << "existing folders keep their mode";
  dir.write("file", "");
  EXPECT_THROW(make_directories((dir / "file").string()), Error);
  EXPECT_THROW(make_directories((dir / "file/x").string()), Error);
}

TEST(FilesTest, ListDirectoryIsSortedAndEmptyForNothing) {
  const tests::TempDir dir;
  dir.write("b", "");
  dir.write("a", "");
  dir.write(".c", "");
  EXPECT_EQ(list_directory(dir.path().string()), (std::vector<std::string>{".c", "a", "b"}));
  EXPECT_TRUE(list_directory((dir / "none").string()).empty());
}

TEST(FilesTest, RemoveTreeDoesNotFollowLinks) {
  const tests::TempDir outside;
  outside.write("precious", "x");
  const tests::TempDir dir;
  const std::string tree = (dir / "tree").string();
  make_directories(tree + "/sub/deeper");
  dir.write("tree/sub/file", "x");
  ASSERT_EQ(::symlink(outside.path().c_str(), (tree + "/link").c_str()), 0);
  ASSERT_EQ(::symlink("nowhere", (tree + "/sub/dangling").c_str()), 0);
  ASSERT_EQ(::symlink(outside.path().c_str(), (dir / "top").c_str()), 0);
  remove_tree(tree);
  remove_tree((dir / "top").string());
  EXPECT_FALSE(path_exists(tree));
  EXPECT_TRUE(list_directory(dir.path().string()).empty());
  EXPECT_EQ(list_directory(outside.path().string()), std::vector<std::string>{"precious"});
  EXPECT_NO_THROW(remove_tree(tree)) << "gone already";
}

TEST(FilesTest, RemoveTreeTakesDeepAndWideTrees) {
  const tests::TempDir dir;
  std::string path = (dir / "deep").string();
  const std::string top = path;
  for (int i = 0; i < 100; ++i) {
    make_directories(path);
    write_file(path + "/f", "x");
    path += "/d";
  }
  for (int i = 0; i < 200; ++i) dir.write(cat("deep/w", i), "");
  remove_tree(top);
  EXPECT_FALSE(path_exists(top));
}

TEST(FileLockTest, ExcludesOthersOfTheSameProcessAndSharesWhenAsked) {
  const tests::TempDir dir;
  const std::string path = (dir / "lock").string();
  FileLock exclusive = FileLock::acquire(path);
  EXPECT_TRUE(exclusive.held());
  EXPECT_FALSE(FileLock::try_acquire(path).held());
  EXPECT_FALSE(FileLock::try_acquire(path, false).held());
  exclusive.release();
  const FileLock first = FileLock::try_acquire(path, false);
  const FileLock second = FileLock::try_acquire(path, false);
  EXPECT_TRUE(first.held() && second.held());
  EXPECT_FALSE(FileLock::try_acquire(path).held());
  EXPECT_EQ(mode_of(path), 0600U);
}

TEST(FileLockTest, ExcludesOtherProcessesUntilTheyDie) {
  const tests::TempDir dir;
  const std::string path = (dir / "lock").string();
  Pipe ready = make_pipe();
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    const FileLock lock = FileLock::acquire(path);
    write_all(ready.write, std::string_view("x"));
    ::pause();
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(ready.read.get(), &byte, 1), 1);
  EXPECT_FALSE(FileLock::try_acquire(path).held());
  const auto start = std::chrono::steady_clock::now();
  try {
    FileLock::acquire(path, true, milliseconds(50));
    ADD_FAILURE() << "two hold it";
  } catch (const Error& error) {
    EXPECT_EQ(error.errnum(), ETIMEDOUT);
    EXPECT_NE(std::string(error.what()).find(path), std::string::npos);
  }
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(49));
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  // The thread that waited above may hold it for a moment.
  EXPECT_TRUE(FileLock::acquire(path, true, milliseconds(10'000)).held());
}

TEST(FileLockTest, WaiterGetsTheLockAndReleasesItAtOnce) {
  const tests::TempDir dir;
  const std::string path = (dir / "lock").string();
  for (int round = 0; round < 50; ++round) {
    FileLock holder = FileLock::acquire(path);
    std::thread releaser([&] {
      ::usleep(500);
      holder.release();
    });
    FileLock waiter = FileLock::acquire(path, true, milliseconds(10'000));
    releaser.join();
    ASSERT_TRUE(waiter.held());
    EXPECT_FALSE(FileLock::try_acquire(path).held());
    waiter.release();
    ASSERT_TRUE(FileLock::try_acquire(path).held()) << "still held after release, round " << round;
  }
}

}  // namespace
}  // namespace base
