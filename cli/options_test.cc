#include "cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"

namespace cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What parsing `words` sets and returns.
struct Parsed {
  bool interactive = false;
  bool tty = false;
  bool remove = false;
  std::string name = "unset";
  std::vector<std::string> env;
  std::vector<std::string> arguments;
};

Parsed parse(const std::vector<std::string>& words, Order order = Order::kBeforeArguments) {
  Parsed parsed;
  Options options;
  options.flag("interactive,i", parsed.interactive, "input");
  options.flag("tty,t", parsed.tty, "terminal");
  options.flag("rm", parsed.remove, "remove");
  options.value("name,n", "NAME", "of it", parsed.name);
  options.list("env,e", "NAME", "variable",
               [&](const std::string& text) { parsed.env.push_back(text); });
  parsed.arguments = options.parse(words, order);
  return parsed;
}

std::string error_of(const std::vector<std::string>& words) {
  try {
    parse(words);
    return "";
  } catch (const base::Error& error) {
    return error.what();
  }
}

TEST(OptionsTest, NothingGivenChangesNothing) {
  const Parsed parsed = parse({});
  EXPECT_FALSE(parsed.interactive);
  EXPECT_EQ(parsed.name, "unset");
  EXPECT_THAT(parsed.arguments, IsEmpty());
}

TEST(OptionsTest, LettersMayStandTogether) {
  const Parsed parsed = parse({"-it", "image"});
  EXPECT_TRUE(parsed.interactive);
  EXPECT_TRUE(parsed.tty);
  EXPECT_THAT(parsed.arguments, ElementsAre("image"));
}

TEST(OptionsTest, LastOfTheLettersMayTakeAValue) {
  EXPECT_EQ(parse({"-itn", "web", "image"}).name, "web");
  EXPECT_EQ(parse({"-itnweb", "image"}).name, "web");
  EXPECT_EQ(parse({"-n=web", "image"}).name, "web");
}

TEST(OptionsTest, EveryWayOfGivingAValueIsTaken) {
  EXPECT_THAT(parse({"-e", "A=1", "-eB=2", "--env=C=3", "--env", "D=4", "-e", "E"}).env,
              ElementsAre("A=1", "B=2", "C=3", "D=4", "E"));
}

TEST(OptionsTest, EmptyValuesAreValues) {
  EXPECT_EQ(parse({"--name="}).name, "");
  EXPECT_EQ(parse({"--name", ""}).name, "");
  EXPECT_THAT(parse({"-e", ""}).env, ElementsAre(""));
}

TEST(OptionsTest, ValueThatLooksLikeAnOptionIsAValue) {
  EXPECT_EQ(parse({"--name", "-i"}).name, "-i");
  EXPECT_EQ(parse({"--name", "--"}).name, "--");
  EXPECT_FALSE(parse({"--name", "-i"}).interactive);
}

TEST(OptionsTest, LastOfSeveralValuesCounts) {
  EXPECT_EQ(parse({"--name", "a", "-n", "b"}).name, "b");
}

TEST(OptionsTest, SwitchesMayBeSwitchedOff) {
  EXPECT_FALSE(parse({"--rm", "--rm=false"}).remove);
  EXPECT_TRUE(parse({"--rm=true"}).remove);
  EXPECT_THAT(error_of({"--rm=maybe"}), HasSubstr("maybe"));
}

TEST(OptionsTest, FirstArgumentEndsTheOptions) {
  const Parsed parsed = parse({"-i", "image", "sh", "-t", "--rm", "--"});
  EXPECT_TRUE(parsed.interactive);
  EXPECT_FALSE(parsed.tty);
  EXPECT_THAT(parsed.arguments, ElementsAre("image", "sh", "-t", "--rm", "--"));
}

TEST(OptionsTest, DoubleDashEndsTheOptions) {
  EXPECT_THAT(parse({"-i", "--", "-t", "x"}).arguments, ElementsAre("-t", "x"));
  EXPECT_THAT(parse({"--", "--"}).arguments, ElementsAre("--"));
}

TEST(OptionsTest, OptionsMayFollowArgumentsWhereThatIsTheOrder) {
  const Parsed parsed = parse({"a", "-i", "b", "--", "-t"}, Order::kAnywhere);
  EXPECT_TRUE(parsed.interactive);
  EXPECT_FALSE(parsed.tty);
  EXPECT_THAT(parsed.arguments, ElementsAre("a", "b", "-t"));
}

TEST(OptionsTest, SingleDashIsAnArgument) {
  EXPECT_THAT(parse({"-"}).arguments, ElementsAre("-"));
}

TEST(OptionsTest, UnknownOptionsAndMissingValuesAreNamed) {
  EXPECT_THAT(error_of({"--nope"}), HasSubstr("'--nope'"));
  EXPECT_THAT(error_of({"--nope=1"}), HasSubstr("'--nope'"));
  EXPECT_THAT(error_of({"-x"}), HasSubstr("'-x'"));
  EXPECT_THAT(error_of({"-ix"}), HasSubstr("'-x'"));
  EXPECT_THAT(error_of({"--name"}), HasSubstr("'--name'"));
  EXPECT_THAT(error_of({"-n"}), HasSubstr("'-n'"));
}

TEST(OptionsTest, BeginningOfANameIsNotTheName) {
  EXPECT_NE(error_of({"--na", "x"}), "");
}

TEST(OptionsTest, ErrorOfAValueNamesItsOption) {
  Options options;
  options.value("memory,m", "SIZE", "of it",
                [](const std::string&) { throw base::Error("invalid size"); });
  try {
    options.parse({"-m", "x"}, Order::kAnywhere);
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_STREQ(error.what(), "--memory: invalid size");
  }
}

TEST(OptionsTest, HelpIsAskedForBeforeAnythingIsChecked) {
  EXPECT_THROW(parse({"-h"}), Options::HelpRequested);
  EXPECT_THROW(parse({"-i", "--help"}), Options::HelpRequested);
  EXPECT_THAT(parse({"image", "--help"}).arguments, ElementsAre("image", "--help"));
}

TEST(OptionsTest, HelpListsEveryOptionByName) {
  bool flag = false;
  std::string value;
  Options options;
  options.flag("tty,t", flag, "Give it a terminal");
  options.value("a-long-name", "A_LONG_VALUE", "Text", value);
  EXPECT_EQ(options.help(),
            "      --a-long-name A_LONG_VALUE\n"
            "                            Text\n"
            "  -h, --help                Print this and exit\n"
            "  -t, --tty                 Give it a terminal\n");
}

}  // namespace
}  // namespace cli
