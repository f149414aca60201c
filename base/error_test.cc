#include "base/error.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace base {
namespace {

TEST(ErrorTest, SaysVerbQuotedObjectAndReason) {
  const Error error(ENOENT, "opening", "/x/disk.raw");
  EXPECT_STREQ(error.what(), "opening '/x/disk.raw': No such file or directory");
  EXPECT_EQ(error.errnum(), ENOENT);
  EXPECT_EQ(error.code(), std::errc::no_such_file_or_directory);
}

TEST(ErrorTest, WithoutObjectOrErrnoNothingIsMadeUp) {
  EXPECT_STREQ(Error(EACCES, "locking").what(), "locking: Permission denied");
  EXPECT_STREQ(Error(0, "checking", "x").what(), "checking 'x'");
  EXPECT_STREQ(Error("as it stands").what(), "as it stands");
  EXPECT_EQ(Error("as it stands").errnum(), 0);
}

TEST(ErrorTest, ContextReadsOutermostFirst) {
  try {
    with_context("starting VM 'web1'",
                 [] { with_context("loading", [] { throw Error(EIO, "reading", "f"); }); });
    FAIL() << "swallowed";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "starting VM 'web1': loading: reading 'f': Input/output error");
    EXPECT_EQ(error.errnum(), EIO);
  }
}

TEST(ErrorTest, ContextPassesValuesAndOtherExceptionsThrough) {
  EXPECT_EQ(with_context("x", [] { return 7; }), 7);
  EXPECT_THROW(with_context("x", []() -> int { throw Cancelled{}; }), Cancelled);
}

TEST(ErrorTest, HintSurvivesContextAndCopies) {
  Error error(ENOENT, "finding", "qemu");
  error.set_hint("install qemu-system-x86").add_context("probing");
  const Error copy = error;
  EXPECT_EQ(copy.hint(), "install qemu-system-x86");
  EXPECT_STREQ(copy.what(), "probing: finding 'qemu': No such file or directory");
}

TEST(ErrorTest, ThrowErrnoReadsErrnoBeforeAnythingElse) {
  errno = EBUSY;
  try {
    throw_errno("unmounting", std::string(1000, 'x'));
  } catch (const Error& error) {
    EXPECT_EQ(error.errnum(), EBUSY);
  }
}

TEST(ErrorTest, QuotedEscapesWhatWouldBreakALine) {
  EXPECT_EQ(quoted("plain ü"), "'plain ü'");
  EXPECT_EQ(quoted("it's\\"), "'it\\'s\\\\'");
  EXPECT_EQ(quoted("a\nb\x1b[2J\x7f"), "'a\\x0ab\\x1b[2J\\x7f'");
}

TEST(ErrorTest, CatJoinsTextAndNumbers) {
  EXPECT_EQ(cat("a", 1, std::string("b"), 'c', 18446744073709551615ULL, -2),
            "a1bc18446744073709551615-2");
}

TEST(ResultTest, HoldsAValueOrAnError) {
  Result<std::string> good = std::string("x");
  ASSERT_TRUE(good.ok());
  EXPECT_EQ(std::move(good).take(), "x");
  Result<std::string> bad = Error(EIO, "reading");
  ASSERT_FALSE(bad);
  EXPECT_EQ(bad.error().errnum(), EIO);
  EXPECT_THROW(std::move(bad).take(), Error);
  EXPECT_TRUE(Result<void>().ok());
  EXPECT_THROW(Result<void>(Error("no")).take(), Error);
}

}  // namespace
}  // namespace base
