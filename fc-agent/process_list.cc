#include "fc-agent/process_list.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <vector>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxFileBytes = 1 << 20;
// Every process may have arguments of this length only when there are few.
constexpr std::size_t kMaxListBytes = 8 << 20;
constexpr unsigned kPtsMajor = 136;  // to 143, admin-guide/devices.txt

std::string link_of(const std::string& path) {
  std::array<char, 256> target;
  const ssize_t n = ::readlink(path.c_str(), target.data(), target.size());
  return n <= 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(n));
}

template <typename T>
T number(std::string_view text, int base = 10) {
  T value{};
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  while (true) {
    const auto begin = text.find_first_not_of(" \t\n");
    if (begin == std::string_view::npos) return words;
    text.remove_prefix(begin);
    const auto end = std::min(text.find_first_of(" \t\n"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

// The words behind "key:" in /proc/<pid>/status.
std::vector<std::string_view> status_field(std::string_view status, std::string_view key) {
  while (!status.empty()) {
    const std::string_view line = status.substr(0, status.find('\n'));
    status.remove_prefix(std::min(line.size() + 1, status.size()));
    if (line.starts_with(key) && line.substr(key.size()).starts_with(':')) {
      return words_of(line.substr(key.size() + 1));
    }
  }
  return {};
}

std::string terminal_name(unsigned device) {
  // As stat(2) packs it: proc(5), tty_nr.
  const unsigned device_major = device >> 8 & 0xfff;
  const unsigned device_minor = (device & 0xff) | (device >> 12 & 0xfff00);
  if (device == 0) return "?";
  if (device_major >= kPtsMajor && device_major < kPtsMajor + 8) {
    return base::cat("pts/", (device_major - kPtsMajor) * 256 + device_minor);
  }
  return base::cat(device_major, ":", device_minor);
}

using Names = std::map<std::string, std::string>;

Names read_names(const wire::TreeRoot& root, const std::string& path) {
  // The container may have put anything there: nothing but a file is read, and nothing waited for.
  const base::Fd file = root.try_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  struct stat info {};
  if (!file || ::fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return {};
  try {
    return parse_names(base::read_to_end(file, kMaxFileBytes));
  } catch (const base::Error&) {
    return {};
  }
}

std::string name_of(const Names& names, std::string_view id) {
  const auto found = names.find(std::string(id));
  return found == names.end() ? std::string(id) : found->second;
}

class Lister {
 public:
  Lister(const std::string& proc, pid_t init, const wire::TreeRoot& root)
      : proc_(proc),
        space_(link_of(base::cat(proc, "/", init, "/ns/pid"))),
        users_(read_names(root, "/etc/passwd")),
        groups_(read_names(root, "/etc/group")),
        ticks_(static_cast<std::uint64_t>(::sysconf(_SC_CLK_TCK))),
        page_kib_(static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE)) / 1024) {
    if (space_.empty()) throw base::Error("the container is not running");
    timespec now{};
    ::clock_gettime(CLOCK_BOOTTIME, &now);
    uptime_ms_ = static_cast<std::uint64_t>(now.tv_sec) * 1000 +
                 static_cast<std::uint64_t>(now.tv_nsec) / 1'000'000;
  }

  wire::ProcessList list() {
    wire::ProcessList all;
    std::map<std::int32_t, std::int32_t> pids;  // guest's to container's
    std::size_t bytes = 0;
    for (const auto& name : base::list_directory(proc_)) {
      if (name.empty() || name.front() < '0' || name.front() > '9') continue;
      if (link_of(base::cat(proc_, "/", name, "/ns/pid")) != space_) continue;
      wire::ProcessInfo process;
      try {
        if (!look_at(base::cat(proc_, "/", name), process)) continue;
      } catch (const base::Error&) {
        continue;  // gone
      }
      process.guest_pid = number<std::int32_t>(name);
      bytes += process.arguments.size() + 512;
      if (all.processes.size() >= wire::ProcessList::kMaxProcesses || bytes > kMaxListBytes) {
        ++all.left_out;
        continue;
      }
      pids[process.guest_pid] = process.pid;
      all.processes.push_back(std::move(process));
    }
    for (auto& process : all.processes) {
      const auto parent = pids.find(process.parent_pid);
      process.parent_pid = parent == pids.end() ? 0 : parent->second;
    }
    std::sort(all.processes.begin(), all.processes.end(),
              [](const auto& a, const auto& b) { return a.pid < b.pid; });
    return all;
  }

 private:
  bool look_at(const std::string& folder, wire::ProcessInfo& process) const {
    const std::string stat = base::read_file(folder + "/stat", kMaxFileBytes);
    const std::string status = base::read_file(folder + "/status", kMaxFileBytes);
    // The name may hold anything: fields are counted from its closing parenthesis (proc(5)).
    const auto open = stat.find('(');
    const auto close = stat.rfind(')');
    if (open == std::string::npos || close == std::string::npos || close < open) return false;
    const auto fields = words_of(std::string_view(stat).substr(close + 1));
    if (fields.size() < 22) return false;
    process.command = stat.substr(open + 1, close - open - 1);
    process.state = fields[0].substr(0, 1);
    process.parent_pid = number<std::int32_t>(fields[1]);
    process.terminal = terminal_name(number<unsigned>(fields[4]));
    process.cpu_ms =
        (number<std::uint64_t>(fields[11]) + number<std::uint64_t>(fields[12])) * 1000 / ticks_;
    process.nice = number<std::int32_t>(fields[16]);
    const std::uint64_t start_ms = number<std::uint64_t>(fields[19]) * 1000 / ticks_;
    process.elapsed_ms = uptime_ms_ > start_ms ? uptime_ms_ - start_ms : 0;
    process.virtual_kib = number<std::uint64_t>(fields[20]) / 1024;
    process.resident_kib = number<std::uint64_t>(fields[21]) * page_kib_;

    const auto last_of = [&](std::string_view key) {
      const auto words = status_field(status, key);
      return words.empty() ? std::int32_t{0} : number<std::int32_t>(words.back());
    };
    process.pid = last_of("NSpid");
    process.group_pid = last_of("NSpgid");
    process.seccomp = last_of("Seccomp");
    const auto uid = status_field(status, "Uid");
    const auto gid = status_field(status, "Gid");
    if (uid.size() < 2 || gid.size() < 2) return false;
    process.real_user = name_of(users_, uid[0]);
    process.user = name_of(users_, uid[1]);
    process.real_group = name_of(groups_, gid[0]);
    process.group = name_of(groups_, gid[1]);
    for (const auto id : status_field(status, "Groups")) {
      if (process.groups.size() > wire::ProcessInfo::kMaxArgumentBytes / 2) break;
      process.groups += base::cat(process.groups.empty() ? "" : ",", name_of(groups_, id));
    }
    const auto bits = [&](std::string_view key) {
      const auto words = status_field(status, key);
      return words.empty() ? std::uint64_t{0} : number<std::uint64_t>(words.back(), 16);
    };
    process.cap_effective = bits("CapEff");
    process.cap_permitted = bits("CapPrm");
    process.cap_inheritable = bits("CapInh");
    process.cap_bounding = bits("CapBnd");
    process.cap_ambient = bits("CapAmb");

    const base::Fd file = base::open_file(folder + "/cmdline", O_RDONLY);
    std::string arguments(wire::ProcessInfo::kMaxArgumentBytes, '\0');
    const ssize_t n = ::read(file.get(), arguments.data(), arguments.size());
    arguments.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
    std::replace(arguments.begin(), arguments.end(), '\0', ' ');
    process.arguments = std::move(arguments);
    return true;
  }

  const std::string& proc_;
  std::string space_;
  Names users_;
  Names groups_;
  std::uint64_t ticks_;
  std::uint64_t page_kib_;
  std::uint64_t uptime_ms_ = 0;
};

}  // namespace

std::map<std::string, std::string> parse_names(std::string_view text) {
  constexpr std::size_t kMaxNameBytes = 64;
  Names names;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const auto first = line.find(':');
    if (first == 0 || first == std::string_view::npos || first > kMaxNameBytes) continue;
    const auto second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view id = line.substr(second + 1, line.find(':', second + 1) - second - 1);
    if (!id.empty() && id.size() <= 10) names.emplace(id, line.substr(0, first));
  }
  return names;
}

wire::ProcessList list_processes(const std::string& proc, pid_t init, const wire::TreeRoot& root) {
  return Lister(proc, init, root).list();
}

}  // namespace fc_agent
