#include "cli/output.h"

#include <gtest/gtest.h>

#include "cli/timings.h"

namespace cli {
namespace {

TEST(ErrorTextTest, NamesTheVerbAndPutsTheHintOnALineOfItsOwn) {
  EXPECT_EQ(error_text("podman run", "no such file", "look for it"),
            "fcvm: podman run: no such file\nhint: look for it\n");
  EXPECT_EQ(error_text("", "why", ""), "fcvm: why\n");
}

TEST(ErrorTextTest, StaysOnOneLineWhateverFailed) {
  EXPECT_EQ(error_text("rm", "a\nb\tc\x1b[0m", "d\ne"), "fcvm: rm: a b c [0m\nhint: d e\n");
}

TEST(ErrorTextTest, ControlsBeyondAsciiDoNotReachTheTerminal) {
  EXPECT_EQ(error_text("podman run",
                       "guest: \xc2\x9b"
                       "0m",
                       "\x9b"),
            "fcvm: podman run: guest:  0m\nhint:  \n");
}

TEST(TableTest, ColumnsAreAsWideAsTheirWidestCell) {
  EXPECT_EQ(render_table({{"NAME", "ID", "IMAGE"}, {"a", "1234", "x"}, {"longer", "1", ""}}),
            "NAME    ID    IMAGE\n"
            "a       1234  x\n"
            "longer  1\n");
}

TEST(TableTest, WidthCountsCharactersNotBytes) {
  EXPECT_EQ(render_table({{"\xc3\xa9", "x"}, {"ab", "y"}}), "\xc3\xa9   x\nab  y\n");
}

TEST(TableTest, NothingIsNothing) {
  EXPECT_EQ(render_table({}), "");
}

TEST(HumanTest, DurationsReadAsPodmanSaysThem) {
  EXPECT_EQ(human_duration(0), "Less than a second");
  EXPECT_EQ(human_duration(1), "1 second");
  EXPECT_EQ(human_duration(59), "59 seconds");
  EXPECT_EQ(human_duration(60), "About a minute");
  EXPECT_EQ(human_duration(150), "2 minutes");
  EXPECT_EQ(human_duration(3600), "About an hour");
  EXPECT_EQ(human_duration(3 * 3600), "3 hours");
  EXPECT_EQ(human_duration(3 * 86400), "3 days");
  EXPECT_EQ(human_duration(21 * 86400), "3 weeks");
  EXPECT_EQ(human_duration(100 * 86400), "3 months");
  EXPECT_EQ(human_duration(1000 * 86400LL), "2 years");
}

TEST(HumanTest, SizesReadAsMiBAndGiB) {
  EXPECT_EQ(human_mib(512), "512 MiB");
  EXPECT_EQ(human_mib(1024), "1 GiB");
  EXPECT_EQ(human_mib(1536), "1.5 GiB");
}

TEST(TimingsTest, MilestonesComeInTheOrderOfTimeWithWhatEachTook) {
  Timings timings(0);
  timings.add({{"late", 2'500}, {"early", 1'000}});
  EXPECT_EQ(timings.table(),
            "MILESTONE  AT            TOOK\n"
            "early            1.0 ms        1.0 ms\n"
            "late             2.5 ms        1.5 ms\n");
}

TEST(TimingsTest, NamesCannotSteerTheTerminal) {
  Timings timings(0);
  timings.add({{"guest:\xc2\x9bm\x1b", 1'000}});
  EXPECT_NE(timings.table().find("guest: m "), std::string::npos) << timings.table();
}

TEST(OutputTest, SizesArePrintedAsPodmanPrintsThem) {
  EXPECT_EQ(human_size(0), "0B");
  EXPECT_EQ(human_size(999), "999B");
  EXPECT_EQ(human_size(2200000), "2.2MB");
  EXPECT_EQ(human_size(1234567890), "1.235GB");
  EXPECT_EQ(human_bytes(4493000), "4.49 MB");
  EXPECT_EQ(human_bytes(0), "0 B");
}

}  // namespace
}  // namespace cli
