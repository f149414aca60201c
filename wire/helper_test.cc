#include "wire/helper.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "wire/process_list.h"

namespace wire {
namespace {

TEST(HelperRequestTest, SurvivesTheWayWithAnyPath) {
  HelperRequest request;
  request.verb = HelperRequest::Verb::kPut;
  request.path = "/a\xff\"b/.";
  request.any_archive = true;
  request.keep_owner = true;
  request.user = "app:video";
  const HelperRequest read = parse_helper_request(to_json(request));
  EXPECT_EQ(read.verb, request.verb);
  EXPECT_EQ(read.path, request.path);
  EXPECT_TRUE(read.any_archive);
  EXPECT_FALSE(read.overwrite);
  EXPECT_TRUE(read.keep_owner);
  EXPECT_EQ(read.user, "app:video");
}

TEST(HelperRequestTest, PathThatIsNotAbsoluteIsRefused) {
  HelperRequest request;
  request.verb = HelperRequest::Verb::kGet;
  for (const std::string& path : {std::string(), std::string("etc"), std::string("/a\0b", 4)}) {
    request.path = path;
    EXPECT_THROW(parse_helper_request(to_json(request)), base::Error);
  }
}

TEST(ProcessListTest, SurvivesTheWay) {
  ProcessList list;
  list.left_out = 3;
  ProcessInfo process;
  process.pid = 1;
  process.guest_pid = 77;
  process.user = "app";
  process.arguments = "sh -c \xff";
  process.nice = -5;
  process.cap_effective = ~std::uint64_t{0};
  list.processes = {process, process};
  const ProcessList read = parse_process_list(to_json(list));
  ASSERT_EQ(read.processes.size(), 2U);
  EXPECT_EQ(read.left_out, 3U);
  EXPECT_EQ(read.processes[1].guest_pid, 77);
  EXPECT_EQ(read.processes[1].user, "app");
  EXPECT_EQ(read.processes[1].nice, -5);
  EXPECT_EQ(read.processes[1].cap_effective, ~std::uint64_t{0});
  EXPECT_EQ(read.processes[1].arguments, "sh -c \xef\xbf\xbd");
}

TEST(ProcessListTest, NegativePidAndOverlongTextAreRefused) {
  ProcessList list;
  list.processes.resize(1);
  list.processes[0].pid = -1;
  EXPECT_THROW(parse_process_list(to_json(list)), base::Error);
  list.processes[0].pid = 1;
  list.processes[0].user = std::string(300, 'u');
  EXPECT_THROW(parse_process_list(to_json(list)), base::Error);
  EXPECT_THROW(parse_process_list("{}"), base::Error);
}

}  // namespace
}  // namespace wire
