#include "tests/support/leak_check.h"

#include <unistd.h>

#include <atomic>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include "storage/data_directory.h"
#include "tests/support/paths.h"

namespace tests {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTagVariable = "FCVM_TEST_TAG";
constexpr std::chrono::milliseconds kLookAgainAfter{50};

// Processes vanish while they are read: everything here answers "empty" for what is gone.

std::string read_or_empty(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  // Iterators would throw for a process that ends while it is read.
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string link_or_empty(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  return error ? std::string() : target.string();
}

std::vector<fs::path> list_or_empty(const fs::path& directory) {
  std::vector<fs::path> entries;
  std::error_code error;
  fs::directory_iterator it(directory, error);
  while (!error && it != fs::directory_iterator()) {
    entries.push_back(it->path());
    it.increment(error);
  }
  return entries;
}

bool is_below(std::string_view path, std::string_view directory) {
  return path.starts_with(directory) &&
         (path.size() == directory.size() || path[directory.size()] == '/');
}

struct Process {
  int pid = 0;
  int parent = 0;
  char state = '?';
  std::string start_ticks;
  std::string name;
  std::string command_line;
};

// proc_pid_stat(5): "pid (name) state ppid …", start time is field 22; the name may hold anything,
// so the rest begins after the last ')'.
std::optional<Process> read_process(int pid) {
  const fs::path directory = fs::path("/proc") / std::to_string(pid);
  const std::string stat = read_or_empty(directory / "stat");
  const auto open = stat.find('(');
  const auto close = stat.rfind(')');
  if (open == std::string::npos || close == std::string::npos) {
    return std::nullopt;
  }
  Process process;
  process.pid = pid;
  process.name = stat.substr(open + 1, close - open - 1);
  std::istringstream rest(stat.substr(close + 1));
  rest >> process.state >> process.parent;
  std::string field;
  for (int number = 5; number <= 22 && rest >> field; ++number) {
    process.start_ticks = field;
  }
  process.command_line = read_or_empty(directory / "cmdline");
  for (char& c : process.command_line) {
    c = c == '\0' ? ' ' : c;
  }
  return process;
}

std::map<int, Process> read_processes() {
  std::map<int, Process> processes;
  for (const fs::path& entry : list_or_empty("/proc")) {
    const std::string name = entry.filename().string();
    if (!name.empty() && std::isdigit(static_cast<unsigned char>(name[0])) != 0) {
      if (auto process = read_process(std::atoi(name.c_str()))) {
        processes.emplace(process->pid, std::move(*process));
      }
    }
  }
  return processes;
}

std::string describe(const Process& process) {
  std::string text = "process " + std::to_string(process.pid) + " (" + process.name + ")";
  if (process.state == 'Z') {
    text += " zombie";
  }
  // The start time tells a process from a later one with the same number.
  return text + " started at tick " + process.start_ticks + ": " + process.command_line;
}

std::set<int> self_and_ancestors(const std::map<int, Process>& processes) {
  std::set<int> pids;
  for (int pid = ::getpid(); pid > 0 && pids.insert(pid).second;) {
    const auto it = processes.find(pid);
    if (it == processes.end()) {
      break;
    }
    pid = it->second.parent;
  }
  return pids;
}

bool has_tag(int pid, const std::string& tag) {
  const std::string environment =
      read_or_empty(fs::path("/proc") / std::to_string(pid) / "environ");
  const auto variable = environment.find(std::string(kTagVariable) + "=");
  if (variable == std::string::npos) {
    return false;
  }
  const auto end = environment.find('\0', variable);
  return environment.substr(variable, end - variable).find(tag) != std::string::npos;
}

std::vector<std::string> open_files(int pid) {
  std::vector<std::string> targets;
  for (const fs::path& entry : list_or_empty(fs::path("/proc") / std::to_string(pid) / "fd")) {
    targets.push_back(link_or_empty(entry));
  }
  return targets;
}

struct Mount {
  std::string where;
  std::string text;
};

// proc_pid_mountinfo(5): "id parent major:minor root mount-point options … - type source
// super-options".
std::vector<Mount> mounts_naming(const fs::path& mountinfo, const std::string& directory) {
  std::vector<Mount> mounts;
  std::ifstream in(mountinfo);
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, where, word, type, source;
    fields >> id >> parent >> device >> root >> where;
    while (fields >> word && word != "-") {
    }
    fields >> type >> source;
    if (is_below(where, directory) || is_below(source, directory) || is_below(root, directory)) {
      mounts.push_back({where, "mount " + type + " of " + source + " (" + root + ") on " + where});
    }
  }
  return mounts;
}

}  // namespace

LeakCheck::LeakCheck(fs::path directory)
    : directory_(fs::absolute(directory.empty() ? data_dir() : std::move(directory))) {
  static std::atomic<int> counter = 0;
  tag_ = "." + std::to_string(::getpid()) + "." + std::to_string(++counter) + ".";
  if (const char* outer = std::getenv(kTagVariable)) {
    outer_tag_ = outer;
  }
  // A check within a check: its processes belong to both.
  ::setenv(kTagVariable, (outer_tag_ + tag_).c_str(), 1);
  before_ = take();
}

LeakCheck::~LeakCheck() {
  if (outer_tag_.empty()) {
    ::unsetenv(kTagVariable);
  } else {
    ::setenv(kTagVariable, outer_tag_.c_str(), 1);
  }
}

LeakCheck::Snapshot LeakCheck::take() const {
  Snapshot found;
  const std::string directory = directory_.string();
  const auto processes = read_processes();
  const auto ours = self_and_ancestors(processes);

  // The scan's own descriptor is closed again by then and must not count.
  for (const fs::path& entry : list_or_empty("/proc/self/fd")) {
    const std::string target = link_or_empty(entry);
    if (!target.empty()) {
      ++found["descriptor of the test itself: " + target];
    }
  }

  std::set<std::string> seen_namespaces;
  for (const Mount& mount : mounts_naming("/proc/self/mountinfo", directory)) {
    ++found[mount.text];
  }
  seen_namespaces.insert(link_or_empty("/proc/self/ns/mnt"));

  for (const auto& [pid, process] : processes) {
    const fs::path proc = fs::path("/proc") / std::to_string(pid);
    if (seen_namespaces.insert(link_or_empty(proc / "ns/mnt")).second) {
      for (const Mount& mount : mounts_naming(proc / "mountinfo", directory)) {
        // A namespace starts as a copy of its maker's: what is mounted here too is no leak there.
        found.try_emplace(mount.text, 1);
      }
    }
    if (ours.contains(pid)) {
      continue;
    }
    if (process.state == 'Z') {
      if (process.parent == ::getpid()) {
        ++found[describe(process)];
      }
      continue;
    }
    bool belongs = process.command_line.find(directory) != std::string::npos || has_tag(pid, tag_);
    for (const std::string& target : open_files(pid)) {
      belongs = belongs || is_below(target, directory);
      if (target.find("/memfd:") != std::string::npos && has_tag(pid, tag_)) {
        ++found["memfd '" + target + "' held by process " + std::to_string(pid)];
      }
    }
    if (belongs) {
      ++found[describe(process)];
    }
  }

  for (const fs::path& block : list_or_empty("/sys/block")) {
    std::string backing = read_or_empty(block / "loop/backing_file");
    while (!backing.empty() && backing.back() == '\n') {
      backing.pop_back();
    }
    if (is_below(backing, directory)) {
      ++found["loop device /dev/" + block.filename().string() + " of " + backing];
    }
  }

  std::ifstream sockets("/proc/net/unix");
  for (std::string line; std::getline(sockets, line);) {
    const auto slash = line.find_first_of("/@");
    if (slash == std::string::npos) {
      continue;
    }
    const std::string name = line.substr(slash);
    // Sockets of VMs of other data directories are no concern of this one.
    const bool of_other_test = name.find("/fcvm-test-") != std::string::npos ||
                               (name.starts_with("/run/fcvm/") &&
                                !name.starts_with(storage::DataDirectory(directory_).run() + "/"));
    if (is_below(name, directory) || (name.find("fcvm") != std::string::npos && !of_other_test)) {
      ++found["socket " + name];
    }
  }

  for (const fs::path& name : list_or_empty("/run/netns")) {
    ++found["network namespace " + name.string()];
  }
  for (const fs::path& name : list_or_empty("/sys/class/net")) {
    ++found["network interface " + name.filename().string()];
  }

  for (const fs::path& folder :
       {fs::path(storage::DataDirectory(directory_).run()), directory_ / "vm-disks",
        directory_ / "state", directory_ / "snapshots", directory_ / "tmp"}) {
    std::error_code error;
    fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied,
                                        error);
    for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
      // The store's own lock is made by the first command and stays, as the folder of locks does.
      if (it->path() == directory_ / "state/.locks" ||
          it->path() == directory_ / "state/.locks/.store") {
        continue;
      }
      ++found["file " + it->path().string()];
    }
  }
  // Caches of finished things are meant to stay; what a half-made one is called begins with a dot.
  for (const char* folder : {"images", "kernels", "initramfs", "rootfs"}) {
    for (const fs::path& entry : list_or_empty(directory_ / folder)) {
      if (entry.filename().string().starts_with('.')) {
        ++found["file " + entry.string()];
      }
    }
  }
  for (const char* folder : {"/run", "/dev/shm", "/tmp", "/var/tmp"}) {
    for (const fs::path& entry : list_or_empty(folder)) {
      const std::string name = entry.filename().string();
      // Test directories have RAII owners in processes that may still be running beside this one.
      // /run/fcvm stays; what is in it was looked at above.
      if (name.starts_with("fcvm") && !name.starts_with("fcvm-test-") && entry != "/run/fcvm") {
        ++found["file " + entry.string()];
      }
    }
  }
  return found;
}

std::string LeakCheck::diff(std::chrono::milliseconds settle) const {
  const auto deadline = std::chrono::steady_clock::now() + settle;
  for (;;) {
    std::string text;
    for (const auto& [what, count] : take()) {
      const auto it = before_.find(what);
      const int extra = count - (it == before_.end() ? 0 : it->second);
      if (extra > 0) {
        text += what + (extra > 1 ? " (" + std::to_string(extra) + " times)\n" : "\n");
      }
    }
    if (text.empty() || std::chrono::steady_clock::now() >= deadline) {
      return text;
    }
    std::this_thread::sleep_for(kLookAgainAfter);
  }
}

}  // namespace tests
