#include "hypervisor/qemu/proc_stats.h"

#include <unistd.h>

#include <charconv>
#include <cstdint>

#include "base/error.h"
#include "base/files.h"

namespace hypervisor::qemu {
namespace {

constexpr int kUtimeField = 14;
constexpr int kStimeField = 15;

std::chrono::microseconds read_cpu_time(const std::string& path) {
  try {
    const auto stat = base::try_read_file(path, 4096);
    if (!stat) return {};
    return parse_cpu_time(*stat, ::sysconf(_SC_CLK_TCK)).value_or(std::chrono::microseconds{0});
  } catch (const base::Error&) {
    // ESRCH: the thread ended between open and read.
    return {};
  }
}

}  // namespace

std::optional<std::chrono::microseconds> parse_cpu_time(std::string_view stat,
                                                        long ticks_per_second) {
  // The name in parentheses, field 2, may hold anything, ')' and spaces included.
  const auto name_end = stat.rfind(')');
  if (name_end == std::string_view::npos || ticks_per_second <= 0) return std::nullopt;
  std::string_view rest = stat.substr(name_end + 1);
  std::uint64_t ticks = 0;
  for (int field = 3; field <= kStimeField; ++field) {
    if (!rest.starts_with(' ')) return std::nullopt;
    rest.remove_prefix(1);
    const std::string_view word = rest.substr(0, rest.find(' '));
    if (field >= kUtimeField) {
      std::uint64_t value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (error != std::errc{} || end != word.data() + word.size()) return std::nullopt;
      ticks += value;
    }
    rest.remove_prefix(word.size());
  }
  return std::chrono::microseconds(
      static_cast<std::int64_t>(ticks * 1'000'000 / static_cast<std::uint64_t>(ticks_per_second)));
}

std::chrono::microseconds process_cpu_time(pid_t pid) {
  return read_cpu_time(base::cat("/proc/", pid, "/stat"));
}

std::chrono::microseconds thread_cpu_time(pid_t pid, pid_t tid) {
  return read_cpu_time(base::cat("/proc/", pid, "/task/", tid, "/stat"));
}

}  // namespace hypervisor::qemu
