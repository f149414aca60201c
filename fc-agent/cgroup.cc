#include "fc-agent/cgroup.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr int kMaxDepth = 16;

// Files of a group vanish with it, between opening and reading, too.
std::string read_or_empty(const std::string& path) {
  try {
    return base::try_read_file(path, kMaxFileBytes).value_or("");
  } catch (const base::Error&) {
    return {};
  }
}

std::uint64_t number_in(const std::string& path) {
  const std::string text = read_or_empty(path);
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string_view next_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

void signal_group(const std::string& group, int signal, int depth) {
  const std::string processes = read_or_empty(group + "/cgroup.procs");
  for (std::string_view rest = processes; !rest.empty();) {
    const std::string_view line = next_line(rest);
    pid_t pid = 0;
    std::from_chars(line.data(), line.data() + line.size(), pid);
    if (pid > 1) ::kill(pid, signal);
  }
  if (depth == 0) return;
  for (const auto& name : base::list_directory(group)) {
    const std::string below = base::cat(group, "/", name);
    if (base::is_directory(below)) signal_group(below, signal, depth - 1);
  }
}

}  // namespace

std::string parse_cgroup_path(std::string_view text) {
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.starts_with("0::/")) return std::string(line.substr(3));
  }
  return {};
}

std::string cgroup_of(const std::string& cgroup_root, pid_t pid) {
  const std::string path = parse_cgroup_path(read_or_empty(base::cat("/proc/", pid, "/cgroup")));
  return path.empty() || path == "/" ? std::string() : cgroup_root + path;
}

std::uint64_t value_of_key(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    std::string_view line = next_line(text);
    if (!line.starts_with(key)) continue;
    line.remove_prefix(key.size());
    // "MemTotal:   123 kB" as well as "usage_usec 123".
    const auto digits = line.find_first_not_of(": \t");
    if (digits == std::string_view::npos || digits == 0) continue;
    std::uint64_t value = 0;
    std::from_chars(line.data() + digits, line.data() + line.size(), value);
    return value;
  }
  return 0;
}

std::uint64_t cgroup_cpu_us(const std::string& group) {
  if (group.empty()) return 0;
  return value_of_key(read_or_empty(group + "/cpu.stat"), "usage_usec");
}

std::uint64_t cgroup_memory_bytes(const std::string& group) {
  return group.empty() ? 0 : number_in(group + "/memory.current");
}

std::uint64_t cgroup_processes(const std::string& group) {
  return group.empty() ? 0 : number_in(group + "/pids.current");
}

CgroupIo parse_cgroup_io(std::string_view text) {
  CgroupIo io;
  const auto add = [](std::string_view line, std::string_view key, std::uint64_t& sum) {
    const auto at = line.find(key);
    if (at == std::string_view::npos) return;
    std::uint64_t value = 0;
    std::from_chars(line.data() + at + key.size(), line.data() + line.size(), value);
    sum += value;
  };
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    add(line, " rbytes=", io.read_bytes);
    add(line, " wbytes=", io.written_bytes);
  }
  return io;
}

CgroupIo cgroup_io(const std::string& group) {
  return group.empty() ? CgroupIo{} : parse_cgroup_io(read_or_empty(group + "/io.stat"));
}

std::uint64_t cgroup_oom_kills(const std::string& group) {
  if (group.empty()) return 0;
  return value_of_key(read_or_empty(group + "/memory.events"), "oom_kill");
}

void freeze_cgroup(const std::string& group, std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  // Opened first: a change after this is told to it.
  const base::Fd events = base::open_file(group + "/cgroup.events", O_RDONLY);
  base::write_file(group + "/cgroup.freeze", "1");
  const auto deadline = Clock::now() + timeout;
  while (true) {
    // Reading says that this state is known; POLLPRI then waits for another.
    char text[512];
    const ssize_t n = ::pread(events.get(), text, sizeof text, 0);
    if (n < 0) base::throw_errno("reading the state of the container's processes");
    if (value_of_key({text, static_cast<std::size_t>(n)}, "frozen") == 1) return;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) {
      thaw_cgroup(group);
      throw base::Error(ETIMEDOUT, "freezing the container's processes");
    }
    pollfd changed{events.get(), POLLPRI, 0};
    ::poll(&changed, 1, static_cast<int>(left.count()));
  }
}

void thaw_cgroup(const std::string& group) {
  base::write_file(group + "/cgroup.freeze", "0");
}

void signal_cgroup(const std::string& group, int signal) {
  if (group.empty()) return;
  try {
    signal_group(group, signal, kMaxDepth);
  } catch (const base::Error&) {
    // The group went away meanwhile.
  }
}

}  // namespace fc_agent
