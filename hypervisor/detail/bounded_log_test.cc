#include "hypervisor/detail/bounded_log.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <filesystem>
#include <string>

#include "base/fd.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace hypervisor {
namespace {

using std::chrono::milliseconds;

class BoundedLogTest : public ::testing::Test {
 protected:
  void write_and_take(BoundedLog& log, const std::string& text) {
    for (std::size_t at = 0; at < text.size(); at += 4096) {
      base::write_all(pipe_.write, std::string_view(text).substr(at, 4096));
      log.drain();
    }
  }

  tests::TempDir dir_;
  base::EventLoop loop_;
  base::Pipe pipe_ = base::make_pipe();
  const std::string path_ = (dir_ / "console.log").string();
};

TEST_F(BoundedLogTest, OutputIsInFileAndTail) {
  BoundedLog log(loop_, std::move(pipe_.read), path_, 1000, 100);
  base::write_all(pipe_.write, "hello\n");
  EXPECT_TRUE(loop_.run_until([&] { return log.tail() == "hello\n"; }, milliseconds(5000)));
  EXPECT_EQ(base::read_file(path_), "hello\n");
}

TEST_F(BoundedLogTest, FloodLeavesTwoBoundedFilesAndTheLastBytes) {
  BoundedLog log(loop_, std::move(pipe_.read), path_, 64 * 1024, 100);
  write_and_take(log, std::string(1 << 20, 'x'));
  write_and_take(log, "the end");
  EXPECT_EQ(log.tail().size(), 100U);
  EXPECT_TRUE(log.tail().ends_with("xthe end"));
  EXPECT_LE(std::filesystem::file_size(path_), 32U * 1024);
  EXPECT_LE(std::filesystem::file_size(path_ + ".1"), 32U * 1024);
  EXPECT_TRUE(base::read_file(path_).ends_with("the end"));
}

TEST_F(BoundedLogTest, FileThatCannotBeMadeKeepsTheTail) {
  BoundedLog log(loop_, std::move(pipe_.read), (dir_ / "no/such/folder").string(), 1000, 100);
  write_and_take(log, "hello");
  EXPECT_EQ(log.tail(), "hello");
}

TEST_F(BoundedLogTest, LinkInPlaceOfTheFileIsNotFollowed) {
  const auto victim = dir_.write("victim", "precious");
  std::filesystem::create_symlink(victim, path_);
  BoundedLog log(loop_, std::move(pipe_.read), path_, 1000, 100);
  write_and_take(log, "hello");
  EXPECT_EQ(base::read_file(victim.string()), "precious");
}

TEST_F(BoundedLogTest, EndOfTheWriterEndsTheWatchQuietly) {
  BoundedLog log(loop_, std::move(pipe_.read), path_, 1000, 100);
  base::write_all(pipe_.write, "bye");
  pipe_.write.reset();
  EXPECT_TRUE(loop_.run_until([&] { return log.tail() == "bye"; }, milliseconds(5000)));
  loop_.run_once(milliseconds(0));
  log.drain();
  EXPECT_EQ(log.tail(), "bye");
}

TEST(LastLineTest, TrailingNewlinesAndControlCharactersAreDropped) {
  EXPECT_EQ(last_line("one\ntwo\x1b[1m!\r\n\n"), "two[1m!");
  EXPECT_EQ(last_line(""), "");
  EXPECT_EQ(last_line("\n"), "");
  EXPECT_LE(last_line(std::string(10'000, 'x')).size(), 300U);
}

}  // namespace
}  // namespace hypervisor
