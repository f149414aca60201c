#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "tests/bench/measure.h"
#include "tests/support/fcvm.h"
#include "tests/support/host_podman.h"
#include "tests/support/temp_dir.h"
#include "vm/guest_paths.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMaxAgentKib = 4096;
constexpr double kMaxPrivateKib = 12 * 1024;
constexpr std::size_t kPipeBytes = 64 << 20;

// Sum of the named fields ("Private_Dirty:") of a file of /proc, in KiB.
double kib_of(const std::string& text, const std::vector<std::string>& names) {
  double sum = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name;
    double kib = 0;
    if (fields >> name >> kib && std::find(names.begin(), names.end(), name) != names.end()) {
      sum += kib;
    }
  }
  return sum;
}

// A shell of the container's busybox in the guest itself, which has none of its own.
std::string in_guest(const tests::Vm& vm, const std::string& script) {
  const std::string busybox = base::cat(vm::kGuestRootfs, "/bin/busybox");
  const tests::Outcome outcome = vm.exec({busybox, "sh", "-c", script}, {"--vm"});
  if (outcome.status != 0) {
    throw base::Error(base::cat("in the guest: ", script, ": ", outcome.err));
  }
  return outcome.out;
}

struct Flow {
  std::size_t bytes = 0;
  double mib_per_second = 0;
};

// Feeds `command` kPipeBytes and reads them back; timed from the first byte that comes back, so that
// its start does not count.
Flow flow_through(std::vector<std::string> argv) {
  base::Pipe in = base::make_pipe();
  base::Pipe out = base::make_pipe();
  tests::Command command;
  command.argv = std::move(argv);
  command.fds = {{in.read.get(), STDIN_FILENO}, {out.write.get(), STDOUT_FILENO}};
  tests::Process process(std::move(command));
  in.read.reset();
  out.write.reset();
  std::thread feeder([fd = std::move(in.write)] {
    const std::string block(1 << 20, 'x');
    try {
      for (std::size_t sent = 0; sent < kPipeBytes; sent += block.size()) {
        base::write_all(fd, block);
      }
    } catch (const base::Error&) {
      // The reader below sees what is missing.
    }
  });
  std::array<char, 1 << 16> chunk;
  Flow flow;
  Clock::time_point first;
  for (ssize_t n; (n = ::read(out.read.get(), chunk.data(), chunk.size())) > 0;) {
    if (flow.bytes == 0) {
      first = Clock::now();
    }
    flow.bytes += static_cast<std::size_t>(n);
    if (flow.bytes == kPipeBytes) {
      break;
    }
  }
  const double seconds = std::chrono::duration<double>(Clock::now() - first).count();
  feeder.join();
  process.wait();
  if (flow.bytes != kPipeBytes) {
    throw base::Error("data was lost on the way through cat");
  }
  flow.mib_per_second = static_cast<double>(kPipeBytes) / (1 << 20) / seconds;
  return flow;
}

}  // namespace

std::vector<Line> memory() {
  const tests::Vm vm;
  const std::string monitor = tests::inspect(vm.name(), "/State/MonitorPid");
  const std::string vmm = tests::inspect(vm.name(), "/State/Pid");
  const std::vector<std::string> kPrivate = {"Private_Clean:", "Private_Dirty:"};
  const double monitor_kib =
      kib_of(tests::read_file("/proc/" + monitor + "/smaps_rollup"), kPrivate);
  const double agent_kib = kib_of(in_guest(vm, "cat /proc/1/smaps_rollup"), kPrivate);
  const std::string status = tests::read_file("/proc/" + vmm + "/status");
  const double agent_size =
      static_cast<double>(std::filesystem::file_size(tests::bin_dir() / "fc-agent")) / 1024;
  return {{"agent: size of the program", agent_size, "KiB", kMaxAgentKib, 1},
          {"agent: private memory, idle", agent_kib, "KiB", kMaxPrivateKib, 1},
          {"monitor: private memory, idle", monitor_kib, "KiB", kMaxPrivateKib, 1},
          {"VMM: memory of its own", kib_of(status, {"RssAnon:"}), "KiB", {}, {}},
          {"VMM: guest memory touched", kib_of(status, {"RssShmem:"}), "KiB", {}, {}}};
}

std::vector<Line> exec_latency(int samples) {
  const tests::Vm vm;
  vm.exec({"true"});
  std::vector<double> ours;
  std::vector<double> in_the_guest;
  for (int i = 0; i < samples; ++i) {
    const auto begin = Clock::now();
    vm.exec({"true"});
    ours.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    const std::string times = in_guest(vm, "b=$EPOCHREALTIME; crun --root /run/crun exec " +
                                               vm.id() + " true; echo $b $EPOCHREALTIME");
    double from = 0;
    double to = 0;
    if (std::sscanf(times.c_str(), "%lf %lf", &from, &to) == 2) {
      in_the_guest.push_back((to - from) * 1000);
    }
  }
  return {
      {"exec true, against crun exec in the guest", median(ours), "ms", median(in_the_guest), {}}};
}

std::vector<Line> pipe_throughput() {
  Line line;
  line.name = "64 MiB through cat, per second";
  line.unit = "MiB/s";
  line.value =
      flow_through(tests::fcvm_argv(tests::run_args({"--rm", "-i"}, {"cat"}))).mib_per_second;
  if (tests::missing_for(tests::Label::podman).empty()) {
    const tests::HostPodman podman(tests::busybox());
    line.baseline = flow_through(podman.run_argv({"-i"}, {"cat"})).mib_per_second;
    line.name += ", against podman";
  }
  return {line};
}

}  // namespace bench
