#include "tests/bench/by_hand.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/files.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/qemu/vmm_process.h"
#include "image/guest_podman.h"
#include "vm/monitor/guest.h"
#include "wire/mux_link.h"

namespace bench {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

constexpr std::chrono::seconds kLimit{120};
constexpr std::string_view kFirstLine = ": started";

hypervisor::MachineConfig machine_config(const vm::LaunchPlan& plan, const std::string& vm_dir) {
  hypervisor::MachineConfig config;
  config.vm_id = "bench-by-hand";
  config.vm_dir = vm_dir;
  config.kernel = plan.kernel;
  config.initramfs = plan.initramfs;
  config.kernel_args = plan.kernel_args;
  config.vcpus = plan.cpus;
  config.mem_mib = plan.mem_mib;
  config.accel = plan.accel == "kvm" ? hypervisor::Accel::kKvm : hypervisor::Accel::kTcg;
  for (const vm::LaunchDisk& disk : plan.disks) {
    hypervisor::DiskConfig entry;
    entry.id = disk.id;
    entry.path = disk.path;
    entry.read_only = disk.read_only;
    entry.discard_flushes = !disk.read_only;
    config.disks.push_back(std::move(entry));
  }
  return config;
}

// What somebody would type in the guest for the container of the plan.
std::string engine_command(const vm::LaunchPlan& plan) {
  const wire::PlanContainer& container = plan.boot.container;
  if (container.podman.empty()) {
    return base::cat("crun run --bundle ", container.bundle, " ", container.id);
  }
  // Behind the image's id is the command.
  std::string command = "podman run --network host --pull never";
  const auto is_option = [](const std::string& word) { return word.starts_with("--"); };
  const auto image =
      std::find_if_not(container.podman.begin() + 1, container.podman.end(), is_option);
  for (auto word = image; word != container.podman.end(); ++word) command += " " + *word;
  return command;
}

// A shell in the guest that runs it and prints both times, in seconds.
wire::ProcessStart timed_engine(const vm::LaunchPlan& plan) {
  // The root of the container is there only after podman has made it.
  const std::string busybox = base::cat(image::kGuestImageStore, "/layers/0/bin/busybox");
  // The agent has had crun read from the disk while it waited for other things; by hand nobody does.
  const std::string script =
      base::cat("echo 1 > /proc/sys/vm/drop_caches; b=$EPOCHREALTIME; ", engine_command(plan),
                " | { read -r -n1 c; echo $b $EPOCHREALTIME; }");
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kGuest;
  start.process_json = nlohmann::json{{"args", {busybox, "sh", "-c", script}},
                                      {"env", {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}},
                                      {"cwd", "/"},
                                      {"user", {{"uid", 0}, {"gid", 0}}}}
                           .dump();
  return start;
}

class Boot {
 public:
  explicit Boot(vm::LaunchPlan plan) : plan_(std::move(plan)) {}

  ByHand run() {
    const auto qemu = hypervisor::make_hypervisor("qemu");
    const hypervisor::Capabilities can = qemu->probe();
    const std::string root_disk = plan_.disks.at(0).path;
    const hypervisor::MachineConfig config =
        machine_config(plan_, root_disk.substr(0, root_disk.rfind('/')));

    begin_ = Clock::now();
    vmm_ = hypervisor::qemu::spawn_vmm(config, can.program, can.private_mounts);
    base::set_nonblocking(vmm_.console);
    console_watch_ =
        loop_.watch(vmm_.console.get(), EPOLLIN, [this](std::uint32_t) { on_console(); });

    vm::Guest::Handler handler;
    handler.on_ready = [this] { guest_->boot(plan_.boot); };
    handler.on_boot_event = [this](const wire::BootEvent& event) { on_boot_event(event); };
    handler.on_down = [this](const std::string& why) { failure_ = "the link went down: " + why; };
    guest_ = std::make_unique<vm::Guest>(
        loop_, wire::make_mux_link(loop_, std::move(vmm_.link), {wire::Side::kHost, 1, 256}),
        std::move(handler));

    loop_.run_until([this] { return done() || !failure_.empty(); }, kLimit);
    if (!done()) {
      throw base::Error(base::cat("booting by hand: ", failure_.empty() ? "too late" : failure_,
                                  "; output: ", output_, "; console: ", console_));
    }
    return {*boot_, engine_time()};
  }

 private:
  bool done() const { return boot_ && output_.ends_with('\n'); }

  void on_console() {
    std::array<char, 4096> chunk;
    const ssize_t n = ::read(vmm_.console.get(), chunk.data(), chunk.size());
    if (n <= 0) {
      console_watch_.reset();
      return;
    }
    console_.append(chunk.data(), static_cast<std::size_t>(n));
    const auto agent = console_.find("fc-agent ");
    if (!boot_ && agent != std::string::npos &&
        console_.find(kFirstLine, agent) != std::string::npos) {
      boot_ = std::chrono::duration_cast<microseconds>(Clock::now() - begin_);
    }
  }

  void on_boot_event(const wire::BootEvent& event) {
    if (event.kind == wire::BootEvent::Kind::kFailed) {
      failure_ = base::cat(event.step, ": ", event.message);
    }
    if (event.kind != wire::BootEvent::Kind::kReady) {
      return;
    }
    process_ = guest_->open_process(timed_engine(plan_));
    const auto collect = [this](wire::Stream& stream) {
      wire::Stream::Handler handler;
      handler.on_data = [this, &stream](std::string_view data) {
        output_ += data;
        stream.consume(data.size());
      };
      stream.set_handler(std::move(handler));
    };
    collect(*process_.stdio);
    collect(*process_.err);
  }

  microseconds engine_time() const {
    double begin = 0;
    double end = 0;
    if (std::sscanf(output_.c_str(), "%lf %lf", &begin, &end) != 2 || end <= begin) {
      throw base::Error(
          base::cat("timing the engine in the guest: it said ", base::quoted(output_)));
    }
    return microseconds(static_cast<std::int64_t>((end - begin) * 1e6));
  }

  vm::LaunchPlan plan_;
  base::EventLoop loop_;
  Clock::time_point begin_;
  hypervisor::qemu::VmmProcess vmm_;
  base::EventLoop::Registration console_watch_;
  std::unique_ptr<vm::Guest> guest_;
  vm::GuestProcess process_;
  std::string console_;
  std::string output_;
  std::string failure_;
  std::optional<microseconds> boot_;
};

}  // namespace

ByHand start_by_hand(vm::LaunchPlan plan) {
  return Boot(std::move(plan)).run();
}

}  // namespace bench
