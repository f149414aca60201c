#include "vm/health_check.h"

#include <gtest/gtest.h>

#include <limits>

#include "base/error.h"

namespace vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

image::Healthcheck image_check(std::int64_t interval_ns, std::int64_t timeout_ns) {
  image::Healthcheck check;
  check.test = {"CMD", "true"};
  check.interval_ns = interval_ns;
  check.timeout_ns = timeout_ns;
  return check;
}

TEST(HealthCheckTest, ImageCannotHaveChecksBackToBackOrWithoutTime) {
  const HealthCheck hasty = resolve_health_check({}, image_check(1, 1));
  EXPECT_EQ(hasty.interval, milliseconds(100));
  EXPECT_EQ(hasty.timeout, seconds(1));
  const HealthCheck usual = resolve_health_check({}, image_check(200'000'000, 3'000'000'000));
  EXPECT_EQ(usual.interval, milliseconds(200));
  EXPECT_EQ(usual.timeout, seconds(3));
  const HealthCheck unsaid = resolve_health_check({}, image_check(0, 0));
  EXPECT_EQ(unsaid.interval, seconds(30));
  EXPECT_EQ(unsaid.timeout, seconds(30));
  const auto ages = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(resolve_health_check({}, image_check(ages, ages)).interval, nanoseconds(ages));
}

TEST(HealthCheckTest, FlagsThatAreTooShortAreRefused) {
  HealthOptions options;
  options.command = {"CMD", "true"};
  options.interval = nanoseconds(999'999);
  EXPECT_THROW(resolve_health_check(options, {}), base::Error);
  options.interval = milliseconds(1);
  EXPECT_EQ(resolve_health_check(options, {}).interval, milliseconds(1));
  options.interval = nanoseconds(0);
  EXPECT_EQ(resolve_health_check(options, {}).interval, nanoseconds(0)) << "only when asked";
  options.timeout = milliseconds(999);
  EXPECT_THROW(resolve_health_check(options, {}), base::Error);
}

}  // namespace
}  // namespace vm
