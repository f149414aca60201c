#include "cli/top_columns.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>

#include "base/error.h"
#include "cli/output.h"
#include "vm/clock.h"

namespace cli {
namespace {

using wire::ProcessInfo;

// podman's tables begin a column every twelve characters at least.
constexpr std::size_t kMinColumn = 12;

// By number, without CAP_ (linux/capability.h).
constexpr std::array<std::string_view, 41> kCapabilities{"CHOWN",
                                                         "DAC_OVERRIDE",
                                                         "DAC_READ_SEARCH",
                                                         "FOWNER",
                                                         "FSETID",
                                                         "KILL",
                                                         "SETGID",
                                                         "SETUID",
                                                         "SETPCAP",
                                                         "LINUX_IMMUTABLE",
                                                         "NET_BIND_SERVICE",
                                                         "NET_BROADCAST",
                                                         "NET_ADMIN",
                                                         "NET_RAW",
                                                         "IPC_LOCK",
                                                         "IPC_OWNER",
                                                         "SYS_MODULE",
                                                         "SYS_RAWIO",
                                                         "SYS_CHROOT",
                                                         "SYS_PTRACE",
                                                         "SYS_PACCT",
                                                         "SYS_ADMIN",
                                                         "SYS_BOOT",
                                                         "SYS_NICE",
                                                         "SYS_RESOURCE",
                                                         "SYS_TIME",
                                                         "SYS_TTY_CONFIG",
                                                         "MKNOD",
                                                         "LEASE",
                                                         "AUDIT_WRITE",
                                                         "AUDIT_CONTROL",
                                                         "SETFCAP",
                                                         "MAC_OVERRIDE",
                                                         "MAC_ADMIN",
                                                         "SYSLOG",
                                                         "WAKE_ALARM",
                                                         "BLOCK_SUSPEND",
                                                         "AUDIT_READ",
                                                         "PERFMON",
                                                         "BPF",
                                                         "CHECKPOINT_RESTORE"};

std::string capabilities(std::uint64_t bits) {
  constexpr std::uint64_t kAll = (std::uint64_t{1} << kCapabilities.size()) - 1;
  if ((bits & kAll) == kAll) return "full";
  std::vector<std::string> names;
  for (std::size_t i = 0; i < kCapabilities.size(); ++i) {
    if ((bits >> i & 1) != 0) names.emplace_back(kCapabilities[i]);
  }
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ",") + name;
  return text.empty() ? "none" : text;
}

std::string percent_cpu(const ProcessInfo& process) {
  const double elapsed = static_cast<double>(process.elapsed_ms);
  std::array<char, 32> text;
  std::snprintf(text.data(), text.size(), "%.3f",
                elapsed > 0 ? 100 * static_cast<double>(process.cpu_ms) / elapsed : 0.0);
  return text.data();
}

std::string start_time(const ProcessInfo& process) {
  const std::time_t start = static_cast<std::time_t>(vm::wall_clock_ns() / 1'000'000'000) -
                            static_cast<std::time_t>(process.elapsed_ms / 1000);
  std::tm local{};
  ::localtime_r(&start, &local);
  std::array<char, 64> text;
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S %z %Z", &local);
  return text.data();
}

std::string arguments(const ProcessInfo& process) {
  return process.arguments.empty() ? '[' + process.command + ']' : process.arguments;
}

std::string seccomp(const ProcessInfo& process) {
  constexpr std::array<std::string_view, 3> kModes{"disabled", "strict", "filter"};
  return process.seccomp >= 0 && process.seccomp < 3
             ? std::string(kModes[static_cast<std::size_t>(process.seccomp)])
             : "?";
}

struct Column {
  std::string_view name;
  char code;  // of ps(1)'s AIX formats, "%p"; 0: none
  std::string_view heading;
  std::string (*text)(const ProcessInfo&);
};

const std::array<Column, 25> kColumns{{
    {"args", 'a', "COMMAND", arguments},
    {"capamb", 0, "AMBIENT CAPS", [](auto& p) { return capabilities(p.cap_ambient); }},
    {"capbnd", 0, "BOUNDING CAPS", [](auto& p) { return capabilities(p.cap_bounding); }},
    {"capeff", 0, "EFFECTIVE CAPS", [](auto& p) { return capabilities(p.cap_effective); }},
    {"capinh", 0, "INHERITED CAPS", [](auto& p) { return capabilities(p.cap_inheritable); }},
    {"capprm", 0, "PERMITTED CAPS", [](auto& p) { return capabilities(p.cap_permitted); }},
    {"comm", 'c', "COMMAND", [](auto& p) { return p.command; }},
    {"etime", 't', "ELAPSED", [](auto& p) { return go_duration(p.elapsed_ms * 1000); }},
    {"group", 'G', "GROUP", [](auto& p) { return p.group; }},
    {"groups", 0, "GROUPS", [](auto& p) { return p.groups; }},
    {"hpid", 0, "HPID", [](auto& p) { return std::to_string(p.guest_pid); }},
    {"nice", 'n', "NI", [](auto& p) { return std::to_string(p.nice); }},
    {"pcpu", 'C', "%CPU", percent_cpu},
    {"pgid", 'r', "PGID", [](auto& p) { return std::to_string(p.group_pid); }},
    {"pid", 'p', "PID", [](auto& p) { return std::to_string(p.pid); }},
    {"ppid", 'P', "PPID", [](auto& p) { return std::to_string(p.parent_pid); }},
    {"rgroup", 'g', "RGROUP", [](auto& p) { return p.real_group; }},
    {"rss", 0, "RSS", [](auto& p) { return std::to_string(p.resident_kib); }},
    {"ruser", 'u', "RUSER", [](auto& p) { return p.real_user; }},
    {"seccomp", 0, "SECCOMP", seccomp},
    {"state", 0, "STATE", [](auto& p) { return p.state; }},
    {"stime", 0, "STIME", start_time},
    {"time", 'x', "TIME", [](auto& p) { return go_duration(p.cpu_ms / 1000 * 1'000'000); }},
    {"tty", 'y', "TTY", [](auto& p) { return p.terminal; }},
    {"user", 'U', "USER", [](auto& p) { return p.user; }},
}};
// "vsz" stands apart to keep the table's order that of the help.
const Column kVsz{"vsz", 'z', "VSZ", [](auto& p) { return std::to_string(p.virtual_kib); }};

const Column& find_column(const std::string& name) {
  const auto matches = [&](const Column& column) {
    return name == column.name ||
           (column.code != 0 && name.size() == 2 && name[0] == '%' && name[1] == column.code);
  };
  for (const auto& column : kColumns) {
    if (matches(column)) return column;
  }
  if (matches(kVsz)) return kVsz;
  throw base::Error(base::cat("unknown descriptor ", base::quoted(name)))
      .set_hint(base::cat("descriptors are ", descriptor_names()));
}

std::vector<const Column*> columns_of(const std::vector<std::string>& descriptors) {
  std::vector<const Column*> columns;
  for (const auto& descriptor : descriptors) {
    std::size_t at = 0;
    while (at <= descriptor.size()) {
      const std::size_t end = std::min(descriptor.find(',', at), descriptor.size());
      columns.push_back(&find_column(descriptor.substr(at, end - at)));
      at = end + 1;
    }
  }
  return columns;
}

// A guest's text must not write on the terminal.
std::string plain(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return text;
}

}  // namespace

std::string_view descriptor_names() {
  return "args capamb capbnd capeff capinh capprm comm etime group groups hpid nice pcpu pgid pid "
         "ppid rgroup rss ruser seccomp state stime time tty user vsz";
}

void check_descriptors(const std::vector<std::string>& descriptors) {
  static_cast<void>(columns_of(descriptors));
}

std::string top_table(const wire::ProcessList& list, const std::vector<std::string>& descriptors) {
  static const std::vector<std::string> kDefaults{"user",  "pid", "ppid", "pcpu",
                                                  "etime", "tty", "time", "args"};
  const auto columns = columns_of(descriptors.empty() ? kDefaults : descriptors);
  std::vector<std::vector<std::string>> rows(1);
  for (const auto* column : columns) rows[0].emplace_back(column->heading);
  for (const auto& process : list.processes) {
    rows.emplace_back();
    for (const auto* column : columns) rows.back().push_back(plain(column->text(process)));
  }
  return render_table(rows, kMinColumn);
}

std::string go_duration(std::uint64_t microseconds) {
  if (microseconds == 0) return "0s";
  const auto decimal = [](std::uint64_t whole, std::uint64_t fraction, int digits) {
    std::string text = std::to_string(fraction);
    text.insert(0, static_cast<std::size_t>(digits) - text.size(), '0');
    text.erase(text.find_last_not_of('0') + 1);
    return std::to_string(whole) + (text.empty() ? "" : "." + text);
  };
  if (microseconds < 1000) return base::cat(microseconds, "\xc2\xb5s");
  if (microseconds < 1'000'000) {
    return decimal(microseconds / 1000, microseconds % 1000, 3) + "ms";
  }
  const std::uint64_t seconds = microseconds / 1'000'000;
  std::string text;
  if (seconds >= 3600) text += base::cat(seconds / 3600, "h");
  if (seconds >= 60) text += base::cat(seconds / 60 % 60, "m");
  return text + decimal(seconds % 60, microseconds % 1'000'000, 6) + "s";
}

}  // namespace cli
