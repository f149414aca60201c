#include "hypervisor/qemu/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/files.h"
#include "tests/support/paths.h"

namespace hypervisor::qemu {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

CommandLineInput full_input() {
  CommandLineInput input;
  input.program = "/usr/bin/qemu-system-x86_64";
  input.tsc_khz = 2596128;
  input.config.vm_id = "8d1f";
  input.config.kernel = "/data/kernels/vmlinux.bin";
  input.config.initramfs = "/data/initramfs/initramfs.cpio";
  input.config.kernel_args = "fcvm.test=1";
  input.config.vcpus = 2;
  input.config.mem_mib = 512;
  input.config.accel = Accel::kTcg;
  input.config.disks = {{"root", "/run/fcvm/vm/disk.raw", false, true},
                        {"image", "/data/images/a,b/image.ext4", true, false}};
  return input;
}

// One argument a line. FCVM_ACCEPT_GOLDEN=1 writes the file anew.
void expect_golden(const std::string& name, const std::vector<std::string>& arguments) {
  std::string text;
  for (const auto& argument : arguments) text += argument + "\n";
  const std::string file = (tests::source_dir() / "hypervisor/qemu/golden" / name).string();
  if (std::getenv("FCVM_ACCEPT_GOLDEN") != nullptr) base::write_file(file, text, 0644);
  EXPECT_EQ(text, base::read_file(file)) << "file: " << file;
}

std::string value_after(const std::vector<std::string>& arguments, const std::string& flag) {
  const auto at = std::find(arguments.begin(), arguments.end(), flag);
  return at == arguments.end() || at + 1 == arguments.end() ? "" : *(at + 1);
}

TEST(CommandLineTest, TcgMachineWithTwoDisksMatchesGoldenText) {
  expect_golden("tcg.txt", build_command_line(full_input()));
}

TEST(CommandLineTest, RestoredMachineHasNoKernelAndWaitsForItsState) {
  CommandLineInput input = full_input();
  const std::vector<std::string> fresh = build_command_line(input);
  input.config.restore = SavedMachine{"/snap/vmstate.bin", "/snap/memory.bin"};
  const std::vector<std::string> restored = build_command_line(input);
  EXPECT_EQ(value_after(restored, "-incoming"), "defer");
  EXPECT_NE(std::find(restored.begin(), restored.end(), "-S"), restored.end());
  for (const char* flag : {"-kernel", "-initrd", "-append"}) {
    EXPECT_EQ(value_after(restored, flag), "") << flag;
    EXPECT_NE(value_after(fresh, flag), "") << flag;
  }
  // The devices must be the same ones, in the same order, or the state does not fit.
  const auto devices_of = [](const std::vector<std::string>& arguments) {
    std::vector<std::string> devices;
    for (std::size_t i = 0; i + 1 < arguments.size(); ++i) {
      if (arguments[i] == "-device" || arguments[i] == "-machine")
        devices.push_back(arguments[i + 1]);
    }
    return devices;
  };
  EXPECT_EQ(devices_of(fresh), devices_of(restored));
}

TEST(CommandLineTest, KvmMachineWithoutBalloonOrInitramfsMatchesGoldenText) {
  CommandLineInput input = full_input();
  input.config.accel = Accel::kKvm;
  input.config.balloon = false;
  input.config.initramfs.clear();
  input.config.kernel_args.clear();
  input.config.disks.clear();
  expect_golden("kvm.txt", build_command_line(input));
}

TEST(CommandLineTest, UnknownTscFrequencyLeavesCalibrationToTheGuest) {
  CommandLineInput input = full_input();
  input.tsc_khz = 0;
  EXPECT_THAT(build_kernel_args(input), Not(HasSubstr("tsc_early_khz")));
}

TEST(CommandLineTest, KvmGuestIsToldNothingAboutTheTsc) {
  CommandLineInput input = full_input();
  input.config.accel = Accel::kKvm;
  EXPECT_THAT(build_kernel_args(input), Not(HasSubstr("tsc")));
}

TEST(CommandLineTest, CallersKernelArgumentsComeLastSoThatTheyWin) {
  EXPECT_TRUE(build_kernel_args(full_input()).ends_with(" fcvm.test=1"));
}

TEST(CommandLineTest, CommaInADiskPathStaysOneOption) {
  const auto arguments = build_command_line(full_input());
  const auto at = std::find_if(arguments.begin(), arguments.end(), [](const std::string& argument) {
    return argument.find("/data/images/a,b/image.ext4") != std::string::npos;
  });
  ASSERT_NE(at, arguments.end());
  EXPECT_EQ(at->front(), '{');
}

TEST(CommandLineTest, OnlyTheDiskThatAsksForItDropsFlushes) {
  const auto arguments = build_command_line(full_input());
  for (const auto& argument : arguments) {
    if (argument.find("\"node-name\":\"disk-root") != std::string::npos) {
      EXPECT_THAT(argument, HasSubstr("\"no-flush\":true"));
    } else if (argument.find("\"node-name\":\"disk-image") != std::string::npos) {
      EXPECT_THAT(argument, HasSubstr("\"no-flush\":false"));
      EXPECT_THAT(argument, HasSubstr("\"read-only\":true"));
    }
  }
}

TEST(CommandLineTest, GuestMemoryIsTheInheritedFile) {
  const auto arguments = build_command_line(full_input());
  EXPECT_EQ(value_after(arguments, "-object"),
            "memory-backend-file,id=mem0,size=512M,mem-path=/proc/self/fd/6,share=on");
}

}  // namespace
}  // namespace hypervisor::qemu
