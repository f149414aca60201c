#include "fc-agent/process_list.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/process.h"
#include "fc-agent/cgroup.h"

namespace fc_agent {
namespace {

TEST(ProcessListTest, OwnProcessIsListedAsItIs) {
  const wire::ProcessList list = list_processes("/proc", ::getpid(), wire::TreeRoot());
  const auto own =
      std::find_if(list.processes.begin(), list.processes.end(),
                   [](const auto& process) { return process.guest_pid == ::getpid(); });
  ASSERT_NE(own, list.processes.end());
  EXPECT_EQ(own->pid, ::getpid());
  EXPECT_EQ(own->state, "R");
  EXPECT_NE(own->arguments.find("fc_agent_parts_test"), std::string::npos) << own->arguments;
  EXPECT_GT(own->resident_kib, 0U);
  EXPECT_TRUE(std::is_sorted(list.processes.begin(), list.processes.end(),
                             [](const auto& a, const auto& b) { return a.pid < b.pid; }));
}

TEST(ProcessListTest, ContainerThatIsGoneIsAnError) {
  EXPECT_THROW(list_processes("/proc", 1 << 30, wire::TreeRoot()), base::Error);
}

TEST(ProcessListTest, NamesAreThoseOfTheFirstLineOfANumber) {
  const auto names = parse_names("root:x:0:0:r:/:/bin/sh\nother:x:0:0\n\nbad\n:x:5:\napp:x:1000:");
  EXPECT_EQ(names.size(), 2U);
  EXPECT_EQ(names.at("0"), "root");
  EXPECT_EQ(names.at("1000"), "app");
}

TEST(CgroupIoTest, DevicesAreAdded) {
  const CgroupIo io = parse_cgroup_io(
      "253:0 rbytes=4096 wbytes=1 rios=1 wios=1 dbytes=9 dios=0\n253:16 rbytes=10 wbytes=20\n");
  EXPECT_EQ(io.read_bytes, 4106U);
  EXPECT_EQ(io.written_bytes, 21U);
}

}  // namespace
}  // namespace fc_agent
