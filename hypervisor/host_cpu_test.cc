#include "hypervisor/host_cpu.h"

#include <gtest/gtest.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace hypervisor {
namespace {

TEST(HostCpuTest, ProcessorsAreCountedAndTheModelIsTheFirst) {
  const HostCpu cpu = parse_cpuinfo(
      "processor\t: 0\nmodel name\t: One CPU @ 2GHz: fast\nflags\t\t: fpu vmx sse\n\n"
      "processor\t: 1\nmodel name\t: Another\nflags\t\t: fpu vmx sse\n");
  EXPECT_EQ(cpu.count, 2U);
  EXPECT_EQ(cpu.model, "One CPU @ 2GHz: fast");
  EXPECT_EQ(cpu.virtualization, "vmx");
}

TEST(HostCpuTest, FlagIsAWordOfTheLineOfFlags) {
  EXPECT_EQ(parse_cpuinfo("flags : svm\n").virtualization, "svm");
  EXPECT_EQ(parse_cpuinfo("flags : a svm").virtualization, "svm");
  EXPECT_EQ(parse_cpuinfo("flags : svm_lock xvmx\nvmx flags : vmx\nbugs : svm\n").virtualization,
            "");
  EXPECT_EQ(parse_cpuinfo("flags :").virtualization, "");
  EXPECT_EQ(parse_cpuinfo("").virtualization, "");
}

TEST(HostCpuTest, ThisMachineIsNamed) {
  const HostCpu cpu = host_cpu();
  utsname host{};
  ASSERT_EQ(::uname(&host), 0);
  EXPECT_EQ(cpu.machine, host.machine);
  EXPECT_GE(cpu.count, 1U);
}

}  // namespace
}  // namespace hypervisor
