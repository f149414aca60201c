#include "vm/monitor/log_file.h"

#include <gtest/gtest.h>

#include <regex>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace vm {
namespace {

class LogFileTest : public ::testing::Test {
 protected:
  std::string text() const { return base::read_file(path_, 256 << 20); }
  tests::TempDir directory_;
  std::string path_ = directory_ / "ctr.log";
};

TEST_F(LogFileTest, LinesAreStampedAndNamed) {
  LogFile log(path_);
  log.write(LogStream::kStdout, "one\ntwo\n");
  log.write(LogStream::kStderr, "three\n");
  const std::string stamp = R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z )";
  EXPECT_TRUE(std::regex_match(text(), std::regex(stamp + "stdout F one\n" + stamp +
                                                  "stdout F two\n" + stamp + "stderr F three\n")))
      << text();
}

TEST_F(LogFileTest, PieceOfALineIsMarkedPartial) {
  LogFile log(path_);
  log.write(LogStream::kStdout, "half");
  log.write(LogStream::kStdout, " line\n");
  EXPECT_NE(text().find("stdout P half\n"), std::string::npos);
  EXPECT_NE(text().find("stdout F  line\n"), std::string::npos);
}

TEST_F(LogFileTest, FullLogIsRotatedOnce) {
  LogFile log(path_);
  const std::string block(1 << 20, 'x');
  for (int i = 0; i < 33; ++i) log.write(LogStream::kStdout, block);
  EXPECT_TRUE(base::path_exists(path_ + ".1"));
  EXPECT_LT(text().size(), LogFile::kRotateBytes);
}

TEST_F(LogFileTest, LogThatCannotBeRotatedIsWrittenOnUntilItCan) {
  LogFile log(path_);
  const std::string block(1 << 20, 'x');
  base::make_directories(path_ + ".next", 0700);
  for (int i = 0; i < 34; ++i) log.write(LogStream::kStdout, block);
  log.write(LogStream::kStdout, "the last\n");
  EXPECT_GT(text().size(), LogFile::kRotateBytes);
  EXPECT_NE(text().find("the last"), std::string::npos);
  base::remove_tree(path_ + ".next");
  log.write(LogStream::kStdout, "anew\n");
  EXPECT_LT(text().size(), 100U);
  EXPECT_NE(base::read_file(path_ + ".1", 256 << 20).find("the last"), std::string::npos);
}

TEST_F(LogFileTest, LogIsOpenedOnceItCanBe) {
  base::make_directories(path_, 0700);
  LogFile log(path_);
  EXPECT_THROW(log.open(), base::Error);
  log.write(LogStream::kStdout, "lost\n");
  base::remove_tree(path_);
  log.write(LogStream::kStdout, "kept\n");
  EXPECT_NE(text().find("kept"), std::string::npos);
  EXPECT_EQ(text().find("lost"), std::string::npos);
}

TEST_F(LogFileTest, TimesAreFormattedToTheNanosecond) {
  EXPECT_EQ(rfc3339_nano(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(rfc3339_nano(1'700'000'000'000'000'001), "2023-11-14T22:13:20.000000001Z");
}

}  // namespace
}  // namespace vm
