#include "hypervisor/qemu/host.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/process.h"
#include "hypervisor/host_cpu.h"

namespace hypervisor::qemu {
namespace {

constexpr int kKvmApiVersion = 12;
// On a tmpfs, like everything that does not outlive a boot.
constexpr char kTscNote[] = "/run/fcvm/tsc-khz";

#if defined(__x86_64__)
constexpr std::uint64_t kMinPlausibleKhz = 100'000;
constexpr std::uint64_t kMaxPlausibleKhz = 20'000'000;

std::optional<std::uint64_t> plausible(std::uint64_t khz) {
  if (khz < kMinPlausibleKhz || khz > kMaxPlausibleKhz) return std::nullopt;
  return khz;
}

// The kernel's own conversion from TSC to nanoseconds. Refused to ordinary users on some systems.
std::optional<std::uint64_t> tsc_khz_from_kernel() {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_DUMMY;
  attributes.exclude_kernel = 1;
  const base::Fd event(static_cast<int>(
      ::syscall(SYS_perf_event_open, &attributes, 0, -1, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!event) return std::nullopt;
  const auto page_bytes = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  void* page = ::mmap(nullptr, page_bytes, PROT_READ, MAP_SHARED, event.get(), 0);
  if (page == MAP_FAILED) return std::nullopt;
  // SAFETY: perf_event_open(2) says the first page of the mapping holds this structure.
  const auto* header = static_cast<const perf_event_mmap_page*>(page);
  std::optional<std::uint64_t> khz;
  if (header->cap_user_time != 0) khz = tsc_khz_from_perf(header->time_mult, header->time_shift);
  ::munmap(page, page_bytes);
  return khz;
}

// Intel SDM, CPUID leaf 15H: TSC frequency = ECX * EBX / EAX.
std::optional<std::uint64_t> tsc_khz_from_cpuid() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  if (__get_cpuid_count(0x15, 0, &eax, &ebx, &ecx, &edx) == 0) return std::nullopt;
  if (eax == 0 || ebx == 0 || ecx == 0) return std::nullopt;
  return plausible(std::uint64_t{ecx} * ebx / eax / 1000);
}

std::uint64_t monotonic_raw_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(now.tv_nsec);
}

struct Sample {
  std::uint64_t ns = 0;
  std::uint64_t tsc = 0;
};

// The tightest of several tries: a preemption between the two readings would spoil the result.
Sample take_sample() {
  Sample best;
  std::uint64_t best_width = ~std::uint64_t{0};
  for (int i = 0; i < 16; ++i) {
    const std::uint64_t before = __rdtsc();
    const std::uint64_t ns = monotonic_raw_ns();
    const std::uint64_t after = __rdtsc();
    if (after - before < best_width) {
      best_width = after - before;
      best = {ns, before + (after - before) / 2};
    }
  }
  return best;
}
#endif

}  // namespace

KvmFacts probe_kvm() {
  KvmFacts facts;
  facts.cpuinfo = base::try_read_file("/proc/cpuinfo", 16 << 20).value_or("");
  const base::Fd device = base::try_open_file("/dev/kvm", O_RDWR);
  if (!device) {
    facts.open_errno = errno;
    return facts;
  }
  facts.api_version = ::ioctl(device.get(), KVM_GET_API_VERSION, 0);
  const base::Fd vm(::ioctl(device.get(), KVM_CREATE_VM, 0));
  if (!vm) facts.create_vm_errno = errno;
  return facts;
}

std::string why_no_kvm(const KvmFacts& facts) {
  using base::cat;
  if (facts.open_errno == ENOENT) return "/dev/kvm does not exist";
  if (facts.open_errno != 0) return cat("/dev/kvm: ", std::strerror(facts.open_errno));
  if (facts.api_version != kKvmApiVersion) {
    return cat("/dev/kvm speaks API version ", facts.api_version, ", not ", kKvmApiVersion);
  }
  if (facts.create_vm_errno != 0) {
    return cat("/dev/kvm makes no VM: ", std::strerror(facts.create_vm_errno));
  }
#if defined(__x86_64__)
  if (parse_cpuinfo(facts.cpuinfo).virtualization.empty()) {
    return "the CPU has no hardware virtualization (neither vmx nor svm)";
  }
#endif
  return {};
}

std::string how_to_get_kvm(const KvmFacts& facts) {
#if defined(__x86_64__)
  const std::string virtualization = parse_cpuinfo(facts.cpuinfo).virtualization;
  if (virtualization.empty()) {
    return "turn on VT-x or AMD-V in the firmware, or nested virtualization where this is a VM";
  }
  if (facts.open_errno == ENOENT) {
    return virtualization == "vmx" ? "modprobe kvm_intel" : "modprobe kvm_amd";
  }
#endif
  if (facts.open_errno == EACCES) return "usermod -aG kvm USER, and log in again";
  return {};
}

#if defined(__x86_64__)
std::optional<std::uint64_t> tsc_khz_from_perf(std::uint32_t time_mult, std::uint16_t time_shift) {
  if (time_mult == 0 || time_shift > 63) return std::nullopt;
  // ns per tick is mult / 2^shift, ticks per millisecond is its inverse times 10^6.
  const double khz = std::ldexp(1e6, time_shift) / time_mult;
  if (khz > static_cast<double>(kMaxPlausibleKhz)) return std::nullopt;
  return plausible(static_cast<std::uint64_t>(std::llround(khz)));
}

std::optional<std::uint64_t> measure_tsc_khz() {
  const Sample first = take_sample();
  const timespec pause{0, 20'000'000};
  ::nanosleep(&pause, nullptr);
  const Sample second = take_sample();
  if (second.ns <= first.ns || second.tsc <= first.tsc) return std::nullopt;
  const double khz =
      static_cast<double>(second.tsc - first.tsc) * 1e6 / static_cast<double>(second.ns - first.ns);
  return plausible(static_cast<std::uint64_t>(std::llround(khz)));
}

std::string format_tsc_note(std::string_view boot_id, std::uint64_t khz) {
  return base::cat(boot_id, " ", khz, "\n");
}

std::optional<std::uint64_t> parse_tsc_note(std::string_view note, std::string_view boot_id) {
  if (!note.starts_with(boot_id) || !note.ends_with('\n')) return std::nullopt;
  note.remove_prefix(boot_id.size());
  note.remove_suffix(1);
  if (!note.starts_with(' ')) return std::nullopt;
  note.remove_prefix(1);
  std::uint64_t khz = 0;
  const auto [end, error] = std::from_chars(note.data(), note.data() + note.size(), khz);
  if (error != std::errc() || end != note.data() + note.size()) return std::nullopt;
  return plausible(khz);
}

namespace {

// One bad moment must not count for as long as the note does.
std::optional<std::uint64_t> median_tsc_khz() {
  std::vector<std::uint64_t> samples;
  for (int i = 0; i < 5; ++i) {
    if (const auto khz = measure_tsc_khz()) samples.push_back(*khz);
  }
  if (samples.empty()) return std::nullopt;
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

}  // namespace

std::optional<std::uint64_t> host_tsc_khz() {
  static const std::optional<std::uint64_t> khz = [] {
    // Finding it out takes 30 ms of each start; only root has a place nobody else writes to.
    const bool noted = ::geteuid() == 0;
    try {
      if (const auto note = noted ? base::try_read_file(kTscNote, 256) : std::nullopt) {
        if (auto known = parse_tsc_note(*note, base::boot_id())) return known;
      }
    } catch (const base::Error&) {
      // It is found out as if there were no note.
    }
    auto found = tsc_khz_from_kernel();
    if (!found) found = tsc_khz_from_cpuid();
    if (!found) found = noted ? median_tsc_khz() : measure_tsc_khz();
    try {
      if (noted && found) {
        base::make_directories(
            std::string(kTscNote).substr(0, std::string_view(kTscNote).rfind('/')), 0700);
        base::replace_file(kTscNote, format_tsc_note(base::boot_id(), *found));
      }
    } catch (const base::Error&) {
      // The next start finds it out again.
    }
    return found;
  }();
  return khz;
}
#else
std::string format_tsc_note(std::string_view, std::uint64_t) {
  return {};
}
std::optional<std::uint64_t> parse_tsc_note(std::string_view, std::string_view) {
  return std::nullopt;
}
std::optional<std::uint64_t> tsc_khz_from_perf(std::uint32_t, std::uint16_t) {
  return std::nullopt;
}
std::optional<std::uint64_t> measure_tsc_khz() {
  return std::nullopt;
}
std::optional<std::uint64_t> host_tsc_khz() {
  return std::nullopt;
}
#endif

cpu_set_t parse_cpu_list(std::string_view list) {
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  const auto malformed = [&] {
    return base::Error(base::cat("malformed list of CPUs ", base::quoted(list)));
  };
  std::string_view rest = list;
  const auto take_number = [&] {
    unsigned number = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
    if (error != std::errc{} || number >= CPU_SETSIZE) throw malformed();
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    return number;
  };
  while (true) {
    const unsigned first = take_number();
    unsigned last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      last = take_number();
    }
    if (last < first) throw malformed();
    for (unsigned cpu = first; cpu <= last; ++cpu) CPU_SET(cpu, &cpus);
    if (rest.empty()) return cpus;
    if (!rest.starts_with(',')) throw malformed();
    rest.remove_prefix(1);
  }
}

}  // namespace hypervisor::qemu
