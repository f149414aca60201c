#include "base/user_lookup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace base {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "\n"
    "  app:x:1000:1001:App:/home/app:/bin/sh  \r\n"
    "app:x:7:7:second::\n"
    "nohome:x:1005:1005:::/bin/sh\n"
    "1234:x:9:9::/nine:\n"
    "short\n"
    "huge:x:99999999999999999999:1:::\n"
    "minus:x:-1:1:::\n";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "# comment:x:77:app\n"
    "wheel:x:10:root,app\n"
    "audio:x:29:app,daemon\n"
    "appg:x:1001:\n"
    "almost:x:30:application,ap\n";

std::string complaint(std::string_view spec) {
  try {
    lookup_user(spec, kPasswd, kGroup);
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(LookupUserTest, EmptySpecIsRootWithItsGroups) {
  const UserInfo user = lookup_user("", kPasswd, kGroup);
  EXPECT_EQ(user.uid, 0U);
  EXPECT_EQ(user.gid, 0U);
  EXPECT_EQ(user.home, "/root");
  EXPECT_THAT(user.groups, ElementsAre(10));
}

TEST(LookupUserTest, FirstEntryOfANameWins) {
  const UserInfo user = lookup_user("app", kPasswd, kGroup);
  EXPECT_EQ(user.uid, 1000U);
  EXPECT_EQ(user.gid, 1001U);
  EXPECT_EQ(user.home, "/home/app");
  EXPECT_THAT(user.groups, ElementsAre(10, 29));
}

TEST(LookupUserTest, NumberIsAnIdNeverAName) {
  EXPECT_EQ(lookup_user("1000", kPasswd, kGroup).home, "/home/app");
  const UserInfo user = lookup_user("1234", kPasswd, kGroup);
  EXPECT_EQ(user.uid, 1234U);
  EXPECT_EQ(user.gid, 0U);
  EXPECT_EQ(user.home, "");
}

TEST(LookupUserTest, ExplicitGroupLeavesNoSupplementaryOnes) {
  const UserInfo user = lookup_user("app:audio", kPasswd, kGroup);
  EXPECT_EQ(user.gid, 29U);
  EXPECT_THAT(user.groups, IsEmpty());
  EXPECT_EQ(lookup_user("app:4242", kPasswd, kGroup).gid, 4242U);
  EXPECT_EQ(lookup_user(":10", kPasswd, kGroup).gid, 10U);
}

TEST(LookupUserTest, UnknownNamesAndIdsOutOfRangeAreRefused) {
  EXPECT_EQ(complaint("nobodyhere"),
            "unable to find user nobodyhere: no matching entries in passwd file");
  EXPECT_EQ(complaint("app:nogroup"),
            "unable to find group nogroup: no matching entries in group file");
  for (const char* spec : {"-1", "99999999999", "2147483648", "app:-5", "huge", "minus"}) {
    EXPECT_EQ(complaint(spec), "uids and gids must be in range 0-2147483647") << spec;
  }
  EXPECT_EQ(complaint("2147483647"), "");
}

TEST(LookupUserTest, WithoutFilesOnlyNumbersWork) {
  EXPECT_EQ(lookup_user("5:6", "", "").gid, 6U);
  EXPECT_EQ(lookup_user("", "", "").uid, 0U);
  EXPECT_THROW(lookup_user("root", "", ""), Error);
}

TEST(LookupUserTest, OverlongTextIsRefused) {
  EXPECT_THROW(lookup_user("x", std::string(kMaxPasswdLineBytes + 1, 'a'), ""), Error);
  EXPECT_THROW(lookup_user("x", std::string(kMaxUserFileBytes + 1, '\n'), ""), Error);
  std::string groups;
  for (std::size_t i = 0; i <= kMaxGroups; ++i) groups += "g:x:1:app\n";
  EXPECT_THROW(lookup_user("app", kPasswd, groups), Error);
}

TEST(MissingUserLinesTest, OnlyUnknownNumbersGetLines) {
  EXPECT_EQ(missing_user_lines("4242", kPasswd, kGroup, "/w").passwd,
            "4242:*:4242:0:container user:/w:/bin/sh\n");
  EXPECT_EQ(missing_user_lines("4242", kPasswd, kGroup, "/w").group, "4242:x:4242:4242\n");
  EXPECT_EQ(missing_user_lines("4242:audio", kPasswd, kGroup, "/").passwd,
            "4242:*:4242:29:container user:/:/bin/sh\n");
  EXPECT_EQ(missing_user_lines("4242:audio", kPasswd, kGroup, "/").group, "");
  EXPECT_EQ(missing_user_lines("app:4243", kPasswd, kGroup, "/").group, "4243:x:4243:app\n");
  for (const char* spec : {"", "root", "app", "0", "0:10"}) {
    const UserFileLines lines = missing_user_lines(spec, kPasswd, kGroup, "/");
    EXPECT_EQ(lines.passwd + lines.group, "") << spec;
  }
}

TEST(MissingUserLinesTest, WorkingDirectoryCannotForgeAnEntry) {
  EXPECT_EQ(missing_user_lines("4242", "", "", "/a\nroot::0:0:::").passwd,
            "4242:*:4242:0:container user:/:/bin/sh\n");
}

}  // namespace
}  // namespace base
