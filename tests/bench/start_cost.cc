#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <csignal>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "image/image_store.h"
#include "storage/data_directory.h"
#include "tests/bench/by_hand.h"
#include "tests/bench/measure.h"
#include "tests/support/fcvm.h"
#include "vm/launch_plan.h"
#include "vm/vm_manager.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kBar = 1.25;
constexpr double kCrunBar = 0.6;
constexpr std::chrono::seconds kLimit{120};

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double start_by_fcvm(const char* engine) {
  base::Pipe out = base::make_pipe();
  base::SpawnOptions spawn;
  spawn.argv = tests::fcvm_argv({"podman", "run", "--rm", "--engine", engine, "--network", "none",
                                 tests::busybox(), "echo", "x"});
  spawn.fds = {{out.write.get(), STDOUT_FILENO}, {STDERR_FILENO, STDERR_FILENO}};
  const auto begin = Clock::now();
  base::ChildProcess child = base::ChildProcess::spawn(spawn);
  out.write.reset();
  char first = 0;
  if (!base::wait_for(out.read.get(), POLLIN, kLimit) || ::read(out.read.get(), &first, 1) != 1) {
    throw base::Error("fcvm podman run printed nothing");
  }
  const auto took = Clock::now() - begin;
  const auto status = child.wait(kLimit);
  if (first != 'x' || !status || !status->success()) {
    throw base::Error("fcvm podman run failed");
  }
  return milliseconds(took);
}

// The very VM the command above makes, made and not started.
ByHand start_the_same_by_hand(vm::Engine engine) {
  const storage::DataDirectory data = storage::open_data_directory(tests::data_dir());
  vm::RunOptions options;
  options.image = tests::busybox();
  options.command = {"echo", "x"};
  options.engine = engine;
  options.network = vm::NetworkMode::kNone;
  options.remove = true;
  vm::VmManager manager(data);
  const vm::VmRecord record =
      manager.create(options, image::ImageStore(data).ensure(options.image));
  try {
    const ByHand by_hand = start_by_hand(
        vm::parse_launch_plan(base::read_file(manager.store().paths(record.id).launch_plan)));
    manager.remove(record, true, 0);
    return by_hand;
  } catch (...) {
    manager.remove(record, true, 0);
    throw;
  }
}

}  // namespace

std::vector<Line> start_cost(int rounds, int samples) {
  // Page cache and image disk: neither side pays for the first time.
  start_by_fcvm("crun");
  start_the_same_by_hand(vm::Engine::kCrun);

  std::vector<Line> lines;
  for (int round = 1; round <= rounds; ++round) {
    std::vector<double> ours;
    std::vector<double> boots;
    std::vector<double> cruns;
    std::vector<double> sums;
    for (int i = 0; i < samples; ++i) {
      ours.push_back(start_by_fcvm("crun"));
      const ByHand by_hand = start_the_same_by_hand(vm::Engine::kCrun);
      boots.push_back(milliseconds(by_hand.boot));
      cruns.push_back(milliseconds(by_hand.engine));
      sums.push_back(boots.back() + cruns.back());
    }
    const std::string name = "start to first byte, round " + std::to_string(round);
    lines.push_back({name, median(ours), "ms", median(sums), kBar});
    lines.push_back({"  by hand: QEMU to the agent's first line", median(boots), "ms", {}, {}});
    lines.push_back({"  by hand: crun run, in the guest", median(cruns), "ms", {}, {}});
  }
  return lines;
}

std::vector<Line> engine_cost(int samples) {
  start_by_fcvm("podman");
  start_the_same_by_hand(vm::Engine::kPodman);

  std::vector<double> with_podman;
  std::vector<double> with_crun;
  std::vector<double> podmans;
  std::vector<double> sums;
  for (int i = 0; i < samples; ++i) {
    with_podman.push_back(start_by_fcvm("podman"));
    with_crun.push_back(start_by_fcvm("crun"));
    const ByHand by_hand = start_the_same_by_hand(vm::Engine::kPodman);
    podmans.push_back(milliseconds(by_hand.engine));
    sums.push_back(milliseconds(by_hand.boot) + podmans.back());
  }
  return {{"start to first byte, engine podman", median(with_podman), "ms", median(sums), kBar},
          {"  by hand: podman run, in the guest", median(podmans), "ms", {}, {}},
          {"engine crun, against podman", median(with_crun), "ms", median(with_podman), kCrunBar}};
}

}  // namespace bench
