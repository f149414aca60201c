// Health checks: by flags and by the image, what is said of them, and who waits for them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_image.h"

namespace tests {
namespace {

using testing::HasSubstr;

std::string health(const std::string& name) {
  return inspect(name, "/State/Health/Status");
}

TEST(HealthTest, StatusFollowsTheCheck) {
  const Vm vm({"--health-cmd", "echo looked; test -e /well", "--health-interval", "200ms",
               "--health-retries", "2"});
  EXPECT_EQ(fcvm({"wait", "--condition", "unhealthy", vm.name()}).out, "-1\n");
  EXPECT_EQ(health(vm.name()), "unhealthy");
  EXPECT_THAT(fcvm({"ls"}).out, HasSubstr("(unhealthy)"));
  EXPECT_EQ(fcvm({"ls", "--filter", "health=unhealthy", "--filter", "name=" + vm.name(), "--format",
                  "{{.Names}} {{.Health}}"})
                .out,
            vm.name() + " unhealthy\n");
  EXPECT_EQ(inspect(vm.name(), "/State/Health/Log/0/ExitCode"), "1");
  EXPECT_EQ(inspect(vm.name(), "/State/Health/Log/0/Output"), "looked\n");

  ASSERT_EQ(vm.exec({"touch", "/well"}).status, 0);
  EXPECT_EQ(fcvm({"wait", "--condition", "healthy", vm.name()}).status, 0);
  EXPECT_EQ(health(vm.name()), "healthy");
  EXPECT_EQ(inspect(vm.name(), "/State/Health/FailingStreak"), "0");
}

TEST(HealthTest, CheckIsRunWhenSomebodyAsks) {
  const Vm vm({"--health-cmd", "test -e /well", "--health-interval", "disable"});
  EXPECT_EQ(health(vm.name()), "starting");
  const Outcome bad = fcvm({"healthcheck", "run", vm.name()});
  EXPECT_EQ(bad.status, 1) << bad;
  EXPECT_EQ(bad.out, "unhealthy\n");
  ASSERT_EQ(vm.exec({"touch", "/well"}).status, 0);
  EXPECT_EQ(fcvm({"healthcheck", "run", vm.name()}).status, 0);
  EXPECT_EQ(health(vm.name()), "healthy");
}

TEST(HealthTest, CheckThatHangsHasFailed) {
  const Vm vm({"--health-cmd", R"(["sleep","1000"])", "--health-interval", "disable",
               "--health-timeout", "1s", "--health-retries", "1"});
  EXPECT_EQ(fcvm({"healthcheck", "run", vm.name()}).status, 1);
  EXPECT_EQ(health(vm.name()), "unhealthy");
  EXPECT_THAT(inspect(vm.name(), "/State/Health/Log/0/Output"), HasSubstr("time limit"));
}

TEST(HealthTest, FailuresWhileItStartsDoNotCount) {
  const Vm vm({"--health-cmd", "false", "--health-interval", "disable", "--health-retries", "1",
               "--health-start-period", "1h"});
  EXPECT_EQ(fcvm({"healthcheck", "run", vm.name()}).status, 1);
  EXPECT_EQ(health(vm.name()), "starting");
  EXPECT_EQ(inspect(vm.name(), "/State/Health/FailingStreak"), "0");
}

TEST(HealthTest, ImageBringsItsOwnCheckUnlessItIsSwitchedOff) {
  const ImageDisksRestored disks;
  const TempDir directory;
  const std::string image = make_test_image(
      directory.path(), "health", 0, R"({"Test":["CMD-SHELL","true"],"Interval":200000000})");
  const std::string name = unique_name("health");
  const RemoveAtEnd remove(name);
  ASSERT_EQ(fcvm(run_args({"-d", "--name", name}, {"busybox", "sleep", "1000"}, image)).status, 0);
  EXPECT_EQ(fcvm({"wait", "--condition", "healthy", name}).status, 0);
  EXPECT_EQ(inspect(name, "/Config/Healthcheck/Interval"), "200000000");
  EXPECT_EQ(fcvm({"rm", "-f", "-t", "0", name}).status, 0);

  ASSERT_EQ(fcvm(run_args({"-d", "--name", name, "--no-healthcheck"}, {"busybox", "sleep", "1000"},
                          image))
                .status,
            0);
  EXPECT_EQ(health(name), "");
  const Outcome none = fcvm({"healthcheck", "run", name});
  EXPECT_EQ(none.status, 125);
  EXPECT_THAT(none.err, HasSubstr("no health check"));
  EXPECT_EQ(fcvm({"wait", "--condition", "healthy", name}).status, 125);
  EXPECT_EQ(fcvm({"wait", "--condition", "bogus", name}).status, 125);
  EXPECT_EQ(fcvm({"rm", "-f", "-t", "0", name}).status, 0);
}

}  // namespace
}  // namespace tests
