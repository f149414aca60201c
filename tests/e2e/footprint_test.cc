// What a VM costs beside its guest: size of the agent, private memory of monitor and agent.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>

#include "tests/support/fcvm.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace tests {
namespace {

constexpr std::uintmax_t kMaxAgentBytes = 4 << 20;
constexpr long kMaxPrivateKib = 12 * 1024;

// Of the text of /proc/PID/smaps_rollup, proc(5); -1 when there is none in it.
long private_kib(const std::string& rollup) {
  long sum = -1;
  std::istringstream lines(rollup);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string key;
    long kib = 0;
    if (fields >> key >> kib && (key == "Private_Clean:" || key == "Private_Dirty:")) {
      sum = (sum < 0 ? 0 : sum) + kib;
    }
  }
  return sum;
}

TEST(FootprintTest, AgentIsSmall) {
  FCVM_REQUIRE_THAT(build, FCVM_TEST_OPTIMIZED ? "" : "a debug build's agent is not optimized");
  EXPECT_LE(std::filesystem::file_size(bin_dir() / "fc-agent"), kMaxAgentBytes);
}

TEST(FootprintTest, IdleMonitorAndAgentUseLittlePrivateMemory) {
  const Vm vm;
  // Neither has just been born: they have served streams.
  ASSERT_EQ(vm.exec({"head", "-c", "4000000", "/dev/zero"}).out.size(), 4'000'000U);
  const std::string monitor = inspect(vm.name(), "/State/MonitorPid");
  const long monitor_kib = private_kib(read_file("/proc/" + monitor + "/smaps_rollup"));
  EXPECT_GT(monitor_kib, 0);
  EXPECT_LT(monitor_kib, kMaxPrivateKib);

  const Outcome agent =
      vm.exec({"/run/fcvm/rootfs/bin/busybox", "cat", "/proc/1/smaps_rollup"}, {"--vm"});
  const long agent_kib = private_kib(agent.out);
  EXPECT_GT(agent_kib, 0) << agent;
  EXPECT_LT(agent_kib, kMaxPrivateKib);
  RecordProperty("monitor_private_kib", static_cast<int>(monitor_kib));
  RecordProperty("agent_private_kib", static_cast<int>(agent_kib));
}

}  // namespace
}  // namespace tests
