#include "vm/log_reader.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"
#include "vm/clock.h"

namespace vm {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int64_t kSecond = 1'000'000'000;

class LogReaderTest : public ::testing::Test {
 protected:
  static std::string at(int second, const std::string& rest) {
    return base::cat("2026-01-01T00:00:0", second, ".000000000Z ", rest, "\n");
  }
  static std::int64_t ns(int second) { return 1'767'225'600 * kSecond + second * kSecond; }

  void append(const std::string& text) const {
    const base::Fd fd = base::open_file(path_, O_WRONLY | O_CREAT | O_APPEND, 0600);
    base::write_all(fd, text);
  }
  void rotate() const { std::filesystem::rename(path_, path_ + ".1"); }

  // "o:text" and "e:text"; a piece of a line ends with "+".
  static std::vector<std::string> read(LogReader& reader) {
    std::vector<std::string> lines;
    reader.read([&](const LogEntry& entry) {
      lines.push_back((entry.stream == LogStream::kStdout ? "o:" : "e:") + entry.text +
                      (entry.ends_line ? "" : "+"));
    });
    return lines;
  }
  std::vector<std::string> read(const LogSelection& selection = {}) const {
    LogReader reader(path_, selection);
    return read(reader);
  }

  tests::TempDir temp_;
  std::string path_ = temp_ / "ctr.log";
};

TEST_F(LogReaderTest, StreamsPiecesAndSpacesAreKept) {
  append(at(0, "stdout F one") + at(1, "stderr F  two ") + at(2, "stdout P thr") +
         at(2, "stdout F ee") + at(3, "stdout F "));
  EXPECT_THAT(read(), ElementsAre("o:one", "e: two ", "o:thr+", "o:ee", "o:"));
}

TEST_F(LogReaderTest, LogThatIsNotThereIsEmpty) {
  EXPECT_THAT(read(), IsEmpty());
}

TEST_F(LogReaderTest, TornLinesAreSkipped) {
  append(at(0, "stdout F one") + "2026-01-01T00:0\n" + "garbage\n\n" + at(1, "stdout X no") +
         at(1, "stdlog F no") + at(2, "stdout F two"));
  EXPECT_THAT(read(), ElementsAre("o:one", "o:two"));
}

TEST_F(LogReaderTest, LineThatIsBeingWrittenWaitsForItsEnd) {
  const std::string line = at(1, "stdout F two");
  append(at(0, "stdout F one") + line.substr(0, 20));
  LogReader reader(path_, {});
  EXPECT_THAT(read(reader), ElementsAre("o:one"));
  EXPECT_THAT(read(reader), IsEmpty());
  append(line.substr(20));
  EXPECT_THAT(read(reader), ElementsAre("o:two"));
}

TEST_F(LogReaderTest, LogMadeLaterIsFound) {
  LogReader reader(path_, {});
  EXPECT_THAT(read(reader), IsEmpty());
  append(at(0, "stdout F one"));
  EXPECT_THAT(read(reader), ElementsAre("o:one"));
}

TEST_F(LogReaderTest, RotatedLogIsReadFirst) {
  append(at(0, "stdout F one"));
  rotate();
  append(at(1, "stdout F two"));
  EXPECT_THAT(read(), ElementsAre("o:one", "o:two"));
}

TEST_F(LogReaderTest, RotationWhileFollowingLosesAndRepeatsNothing) {
  append(at(0, "stdout F one"));
  LogReader reader(path_, {});
  EXPECT_THAT(read(reader), ElementsAre("o:one"));
  append(at(1, "stdout F two"));
  rotate();
  append(at(2, "stdout F three"));
  EXPECT_THAT(read(reader), ElementsAre("o:two", "o:three"));
  EXPECT_THAT(read(reader), IsEmpty());
}

TEST_F(LogReaderTest, TwoRotationsBetweenTwoReadsLoseNothing) {
  append(at(0, "stdout F one"));
  LogReader reader(path_, {});
  EXPECT_THAT(read(reader), ElementsAre("o:one"));
  append(at(1, "stdout F two"));
  rotate();
  append(at(2, "stdout F three"));
  rotate();
  append(at(3, "stdout F four"));
  EXPECT_THAT(read(reader), ElementsAre("o:two", "o:three", "o:four"));
  EXPECT_THAT(read(reader), IsEmpty());
  append(at(4, "stdout F five"));
  rotate();
  append(at(5, "stdout F six"));
  EXPECT_THAT(read(reader), ElementsAre("o:five", "o:six"));
}

TEST_F(LogReaderTest, LogMadeAndRotatedLaterIsReadFromItsBeginning) {
  LogReader reader(path_, {});
  EXPECT_THAT(read(reader), IsEmpty());
  append(at(0, "stdout F one"));
  rotate();
  append(at(1, "stdout F two"));
  EXPECT_THAT(read(reader), ElementsAre("o:one", "o:two"));
}

class LogWatchTest : public ::testing::Test {
 protected:
  LogWatchTest() : store_(storage::DataDirectory(temp_.path())) {
    vm_.id = std::string(64, 'a');
    base::make_directories(store_.paths(vm_.id).disks, 0700);
    base::make_directories(store_.data().state(), 0700);
  }

  tests::TempDir temp_;
  VmStore store_;
  VmRecord vm_;
};

TEST_F(LogWatchTest, GrowthWakesTheReader) {
  const std::string path = store_.paths(vm_.id).log;
  base::write_file(path, "");
  LogWatch watch(store_, {vm_});
  base::write_file(path, "more");
  watch.wait();
}

TEST_F(LogWatchTest, LogThatCannotBeWatchedIsLookedAtOnceASecond) {
  // A link to itself can be watched by nobody, like a log without watches left.
  const std::string path = store_.paths(vm_.id).log;
  ASSERT_EQ(::symlink(path.c_str(), path.c_str()), 0);
  LogWatch watch(store_, {vm_});
  const auto start = std::chrono::steady_clock::now();
  watch.wait();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST_F(LogReaderTest, TimesSelect) {
  append(at(1, "stdout F one") + at(2, "stdout F two") + at(3, "stdout F three"));
  LogSelection since;
  since.since_ns = ns(2);
  EXPECT_THAT(read(since), ElementsAre("o:two", "o:three"));
  LogSelection until;
  until.until_ns = ns(2);
  LogReader reader(path_, until);
  EXPECT_THAT(read(reader), ElementsAre("o:one", "o:two"));
  EXPECT_TRUE(reader.past_end());
}

TEST_F(LogReaderTest, TailCountsLinesOfBothStreamsAndWholeOnes) {
  append(at(0, "stdout F one") + at(1, "stderr P t") + at(2, "stdout F three") +
         at(3, "stderr F wo") + at(4, "stdout F four"));
  LogSelection selection;
  selection.tail = 2;
  EXPECT_THAT(read(selection), ElementsAre("o:three", "o:four"));
  selection.tail = 3;
  EXPECT_THAT(read(selection), ElementsAre("e:t+", "e:wo", "o:three", "o:four"));
  selection.tail = 0;
  EXPECT_THAT(read(selection), IsEmpty());
}

TEST_F(LogReaderTest, TailCountsOnlyWhatWasThereAtFirst) {
  append(at(0, "stdout F one") + at(1, "stdout F two"));
  LogSelection selection;
  selection.tail = 1;
  LogReader reader(path_, selection);
  EXPECT_THAT(read(reader), ElementsAre("o:two"));
  append(at(2, "stdout F three") + at(3, "stdout F four"));
  EXPECT_THAT(read(reader), ElementsAre("o:three", "o:four"));
}

TEST_F(LogReaderTest, WhatTheMonitorWritesIsRead) {
  LogFile log(path_);
  log.write(LogStream::kStdout, "one\ntwo");
  log.write(LogStream::kStdout, "more\n");
  log.write(LogStream::kStderr, "\n");
  EXPECT_THAT(read(), ElementsAre("o:one", "o:two+", "o:more", "e:"));
}

TEST(LogTimeTest, EveryFormIsUnderstood) {
  constexpr std::int64_t kNow = 1'800'000'000 * kSecond;
  EXPECT_EQ(parse_log_time("1970-01-01T00:01:00Z", kNow), 60 * kSecond);
  EXPECT_EQ(parse_log_time("1970-01-01T01:01:00+01:00", kNow), 60 * kSecond);
  EXPECT_EQ(parse_log_time("1970-01-01T00:00:00.5-00:01", kNow), 60 * kSecond + kSecond / 2);
  EXPECT_EQ(parse_log_time("1700000000", kNow), 1'700'000'000 * kSecond);
  EXPECT_EQ(parse_log_time("1.25", kNow), kSecond + kSecond / 4);
  EXPECT_EQ(parse_log_time("10m", kNow), kNow - 600 * kSecond);
  EXPECT_EQ(parse_log_time(rfc3339_nano(1'234'567'890'123'456'789), kNow),
            1'234'567'890'123'456'789);
  // Local time: within a day of what UTC makes of it.
  EXPECT_LE(std::abs(parse_log_time("2026-01-01", kNow) - 1'767'225'600 * kSecond),
            86'400 * kSecond);
}

TEST(LogTimeTest, AnythingElseIsRefused) {
  for (const char* text :
       {"", "yesteryear", "2026-13-01", "2026-01-01T25:00:00Z", "2026-01-01T",
        "2026-01-01T00:00:00X", "-5", "1.", "10 minutes", "99999999999999999999"}) {
    EXPECT_THROW(parse_log_time(text, 0), base::Error) << text;
  }
}

}  // namespace
}  // namespace vm
