#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/qemu/qemu.h"

namespace hypervisor {
namespace {

using ::testing::HasSubstr;

Capabilities capabilities() {
  Capabilities can;
  can.hypervisor = "test";
  can.max_vcpus = 8;
  return can;
}

MachineConfig good() {
  MachineConfig config;
  config.vm_id = "a1b2";
  config.kernel = "/vmlinux";
  config.disks = {{"root", "/disk", false, false}, {"image", "/image", true, false}};
  return config;
}

TEST(CheckConfigTest, OrdinaryMachinePasses) {
  EXPECT_NO_THROW(check_config(good(), capabilities()));
}

struct BadCase {
  const char* name;
  std::function<void(MachineConfig&)> spoil;
  const char* message;
};

class BadConfigTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadConfigTest, IsRefusedByName) {
  MachineConfig config = good();
  GetParam().spoil(config);
  try {
    check_config(config, capabilities());
    FAIL() << "was accepted";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(GetParam().message));
  }
}

INSTANTIATE_TEST_SUITE_P(
    Cases, BadConfigTest,
    ::testing::Values(
        BadCase{"EmptyId", [](auto& c) { c.vm_id.clear(); }, "VM id"},
        BadCase{"IdWithComma", [](auto& c) { c.vm_id = "a,debug-threads=off"; }, "VM id"},
        BadCase{"OverlongId", [](auto& c) { c.vm_id.assign(129, 'a'); }, "VM id"},
        BadCase{"NoVcpu", [](auto& c) { c.vcpus = 0; }, "0 vCPUs: test takes 1 to 8"},
        BadCase{"TooManyVcpus", [](auto& c) { c.vcpus = 9; }, "9 vCPUs"},
        BadCase{"TooLittleMemory", [](auto& c) { c.mem_mib = 63; }, "63 MiB of memory"},
        BadCase{"AbsurdMemory", [](auto& c) { c.mem_mib = 1ULL << 44; }, "MiB of memory"},
        BadCase{"NoKernel", [](auto& c) { c.kernel.clear(); }, "no kernel"},
        BadCase{"KernelArgsWithNewline", [](auto& c) { c.kernel_args = "a\nb"; }, "arguments"},
        BadCase{"OverlongKernelArgs", [](auto& c) { c.kernel_args.assign(1025, 'a'); },
                "arguments"},
        BadCase{"EmptyDiskId", [](auto& c) { c.disks[0].id.clear(); }, "disk id"},
        BadCase{"DiskIdLongerThanASerial", [](auto& c) { c.disks[0].id.assign(21, 'a'); },
                "disk id"},
        BadCase{"DiskIdWithSlash", [](auto& c) { c.disks[0].id = "a/b"; }, "disk id"},
        BadCase{"SameDiskIdTwice", [](auto& c) { c.disks[1].id = "root"; }, "two disks"}),
    [](const auto& param_info) { return param_info.param.name; });

TEST(MakeHypervisorTest, UnknownNameIsRefusedWithTheKnownOnes) {
  EXPECT_EQ(make_hypervisor("auto")->probe().hypervisor, "qemu");
  EXPECT_EQ(make_hypervisor("qemu")->probe().hypervisor, "qemu");
  try {
    make_hypervisor("bochs");
    FAIL() << "was accepted";
  } catch (const base::Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("'bochs'"));
    EXPECT_THAT(error.hint(), HasSubstr("qemu"));
  }
}

TEST(QemuTest, MissingProgramIsNotUsableAndSaysWhatToInstall) {
  const auto qemu = qemu::make_qemu({"no-such-qemu"});
  const Capabilities can = qemu->probe();
  EXPECT_FALSE(can.usable);
  EXPECT_FALSE(can.tcg);
  EXPECT_THAT(can.hint, HasSubstr("qemu-system-x86"));
  base::EventLoop loop;
  EXPECT_THROW(qemu->start(loop, {}, {}), base::Error);
}

}  // namespace
}  // namespace hypervisor
