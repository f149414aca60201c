// What the host offers QEMU: kvm or tcg, and the frequency of its time stamp counter.
#pragma once

#include <sched.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace hypervisor::qemu {

// The facts that decide about kvm, gathered by probe_kvm() or made up by a test.
struct KvmFacts {
  int open_errno = 0;       // of opening /dev/kvm read-write; 0: it opened
  int api_version = 0;      // KVM_GET_API_VERSION, 12 for as long as KVM has been stable
  int create_vm_errno = 0;  // of KVM_CREATE_VM; 0: it made a VM
  std::string cpuinfo;      // /proc/cpuinfo
};
KvmFacts probe_kvm();

// Empty when guests run well under kvm, else why not, in one line. A device that opens and makes VMs
// is not enough on x86: where the CPU has neither vmx nor svm (a host that is a guest itself) the
// kernel interprets the guest's kernel code instruction by instruction, slower than tcg, and stock
// kernels die.
std::string why_no_kvm(const KvmFacts& facts);
// What the user can do about it; may be empty.
std::string how_to_get_kvm(const KvmFacts& facts);

// The host's TSC frequency, as a tcg guest sees it, or nothing on a machine without one. Exact
// where the kernel or the CPU tell it; else measured against CLOCK_MONOTONIC_RAW, which blocks for
// 20 ms, once in a boot for root (who notes it in /run/fcvm), once in a process for others.
std::optional<std::uint64_t> host_tsc_khz();
// The note: "<boot id> <kHz>\n". Nothing for the note of another boot or one that makes no sense.
std::string format_tsc_note(std::string_view boot_id, std::uint64_t khz);
std::optional<std::uint64_t> parse_tsc_note(std::string_view note, std::string_view boot_id);
// The measurement alone.
std::optional<std::uint64_t> measure_tsc_khz();
// From the fields time_mult and time_shift of perf_event_mmap_page (perf_event_open(2)), by which
// ns = (tsc * mult) >> shift. Nothing when they make no sense.
std::optional<std::uint64_t> tsc_khz_from_perf(std::uint32_t time_mult, std::uint16_t time_shift);

// A list of CPUs as cpuset(7) writes it ("0-3,7"). Throws base::Error for anything else and for
// numbers of 1024 and above.
cpu_set_t parse_cpu_list(std::string_view list);

}  // namespace hypervisor::qemu
