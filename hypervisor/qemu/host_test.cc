#include "hypervisor/qemu/host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include "base/error.h"

namespace hypervisor::qemu {
namespace {

using ::testing::HasSubstr;

constexpr char kCpuinfoSvm[] =
    "processor\t: 0\nvendor_id\t: AuthenticAMD\nflags\t\t: fpu vme svm lahf_lm\nbugs\t\t: x\n";
constexpr char kCpuinfoVmxLast[] = "processor\t: 0\nflags\t\t: fpu vme vmx\n";
constexpr char kCpuinfoNone[] = "processor\t: 0\nflags\t\t: fpu vme hypervisor\n";
// Look like the flags but are not.
constexpr char kCpuinfoSimilar[] =
    "processor\t: 0\nmodel name\t: a vmx svm of sorts\nflags\t\t: fpu svm_lock xvmx\nvmx flags\t: "
    "vnmi svm vmx\n";

KvmFacts working(const char* cpuinfo) {
  return {0, 12, 0, cpuinfo};
}

#if defined(__x86_64__)
TEST(WhyNoKvmTest, CpuWithSvmIsUsable) {
  EXPECT_EQ(why_no_kvm(working(kCpuinfoSvm)), "");
}

TEST(WhyNoKvmTest, CpuWithVmxAsLastFlagIsUsable) {
  EXPECT_EQ(why_no_kvm(working(kCpuinfoVmxLast)), "");
}

TEST(WhyNoKvmTest, WorkingDeviceOnACpuWithoutVirtualizationIsRefused) {
  EXPECT_THAT(why_no_kvm(working(kCpuinfoNone)), HasSubstr("neither vmx nor svm"));
}

TEST(WhyNoKvmTest, WordsThatOnlyContainTheFlagDoNotCount) {
  EXPECT_THAT(why_no_kvm(working(kCpuinfoSimilar)), HasSubstr("neither vmx nor svm"));
}

TEST(WhyNoKvmTest, UnreadableCpuinfoIsRefused) {
  EXPECT_THAT(why_no_kvm(working("")), HasSubstr("neither vmx nor svm"));
}
#endif

#if defined(__x86_64__)
TEST(WhyNoKvmTest, WhatToDoDependsOnWhatIsMissing) {
  EXPECT_THAT(how_to_get_kvm(working(kCpuinfoNone)), HasSubstr("firmware"));
  EXPECT_EQ(how_to_get_kvm({ENOENT, 0, 0, kCpuinfoSvm}), "modprobe kvm_amd");
  EXPECT_EQ(how_to_get_kvm({ENOENT, 0, 0, kCpuinfoVmxLast}), "modprobe kvm_intel");
  EXPECT_THAT(how_to_get_kvm({EACCES, 0, 0, kCpuinfoSvm}), HasSubstr("kvm"));
  EXPECT_EQ(how_to_get_kvm(working(kCpuinfoSvm)), "");
}
#endif

TEST(WhyNoKvmTest, MissingDeviceIsNamed) {
  EXPECT_EQ(why_no_kvm({ENOENT, 0, 0, kCpuinfoSvm}), "/dev/kvm does not exist");
}

TEST(WhyNoKvmTest, ForbiddenDeviceSaysSo) {
  EXPECT_THAT(why_no_kvm({EACCES, 0, 0, kCpuinfoSvm}), HasSubstr("Permission denied"));
}

TEST(WhyNoKvmTest, DeviceThatMakesNoVmIsRefused) {
  EXPECT_THAT(why_no_kvm({0, 12, EBUSY, kCpuinfoSvm}), HasSubstr("makes no VM"));
}

TEST(WhyNoKvmTest, UnknownApiVersionIsRefused) {
  EXPECT_THAT(why_no_kvm({0, 11, 0, kCpuinfoSvm}), HasSubstr("version 11"));
}

#if defined(__x86_64__)
TEST(TscTest, PerfConversionIsInverted) {
  // 2 GHz: half a nanosecond a tick.
  EXPECT_EQ(tsc_khz_from_perf(1U << 30, 31), 2'000'000U);
}

TEST(TscTest, ImpossiblePerfConversionsAreRefused) {
  EXPECT_FALSE(tsc_khz_from_perf(0, 31));
  EXPECT_FALSE(tsc_khz_from_perf(1, 64));
  EXPECT_FALSE(tsc_khz_from_perf(1, 63));
  EXPECT_FALSE(tsc_khz_from_perf(0xffffffff, 1));
}

TEST(TscTest, FrequencyAgreesWithAMeasurement) {
  const auto khz = host_tsc_khz();
  const auto measured = measure_tsc_khz();
  ASSERT_TRUE(khz && measured);
  const auto difference =
      std::llabs(static_cast<long long>(*khz) - static_cast<long long>(*measured));
  EXPECT_LT(difference, static_cast<long long>(*khz / 200)) << *khz << " and " << *measured;
}
#endif

TEST(CpuListTest, RangesAndNumbersAreTaken) {
  const cpu_set_t cpus = parse_cpu_list("0-2,7");
  EXPECT_EQ(CPU_COUNT(&cpus), 4);
  EXPECT_TRUE(CPU_ISSET(0, &cpus));
  EXPECT_TRUE(CPU_ISSET(2, &cpus));
  EXPECT_FALSE(CPU_ISSET(3, &cpus));
  EXPECT_TRUE(CPU_ISSET(7, &cpus));
}

class BadCpuListTest : public ::testing::TestWithParam<const char*> {};

TEST_P(BadCpuListTest, IsRefused) {
  EXPECT_THROW(parse_cpu_list(GetParam()), base::Error);
}

INSTANTIATE_TEST_SUITE_P(Malformed, BadCpuListTest,
                         ::testing::Values("", ",", "1,", "-1", "2-1", "1-", "a", "1 ", "1024",
                                           "0-99999999999", "1--2", "0x1"));

#if defined(__x86_64__)
TEST(HostTest, NoteOfTheTscHoldsForItsBootOnly) {
  const std::string note = format_tsc_note("boot-1", 2'400'000);
  EXPECT_EQ(parse_tsc_note(note, "boot-1"), 2'400'000U);
  EXPECT_FALSE(parse_tsc_note(note, "boot-2"));
  EXPECT_FALSE(parse_tsc_note(note, "boot-10"));
  EXPECT_FALSE(parse_tsc_note(note.substr(0, note.size() - 1), "boot-1"));
  EXPECT_FALSE(parse_tsc_note("boot-1 12\n", "boot-1"));
  EXPECT_FALSE(parse_tsc_note("boot-1 fast\n", "boot-1"));
  EXPECT_FALSE(parse_tsc_note("", "boot-1"));
}
#endif

}  // namespace
}  // namespace hypervisor::qemu
