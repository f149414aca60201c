// fc-agent: PID 1 of a guest, from the kernel's start to the power-off.

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <exception>
#include <string_view>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "base/version.h"
#include "fc-agent/agent.h"
#include "fc-agent/conmon.h"
#include "fc-agent/console.h"
#include "fc-agent/guest_setup.h"
#include "fc-agent/helper.h"
#include "fc-agent/link_port.h"
#include "fc-agent/modules.h"
#include "fc-agent/mounts.h"
#include "fc-agent/podman.h"
#include "fc-agent/power.h"
#include "fc-agent/reaper.h"
#include "fc-agent/uevents.h"

namespace {

constexpr std::chrono::seconds kLinkTimeout{60};

void write_to_stderr(std::string_view text) {
  [[maybe_unused]] const ssize_t n = ::write(STDERR_FILENO, text.data(), text.size());
}

// Costs memory, not correctness: one heap for both threads, and free memory goes back to the kernel.
void keep_heap_small() {
  ::mallopt(M_ARENA_MAX, 1);
  ::mallopt(M_TRIM_THRESHOLD, 256 * 1024);
  ::mallopt(M_MMAP_THRESHOLD, 128 * 1024);
}

// What the guest also works without, whatever kernel it runs on.
void tune_kernel() {
  const auto set = [](const char* path, std::string_view value) {
    try {
      base::write_file(path, value);
    } catch (const base::Error& error) {
      base::log_info(error.what());
    }
  };
  set("/proc/self/oom_score_adj", "-1000");
  // There is no modprobe: the kernel need not start a process to find that out.
  set("/proc/sys/kernel/modprobe", "\n");
  // Starting a container waits for a dozen grace periods of RCU (mounts, cgroups, interfaces); a
  // guest has few processors to interrupt for shorter ones.
  set("/sys/kernel/rcu_expedited", "1");
}

// For good. Whatever one callback runs into (no memory, no descriptors) is not worth the guest.
[[noreturn]] void serve(base::EventLoop& loop) {
  while (true) {
    try {
      loop.run();
    } catch (const std::exception& error) {
      base::log_error(error.what());
    }
  }
}

void run_guest(std::int64_t started_us) {
  fc_agent::mount_initramfs();
  fc_agent::set_up_stdio();
  fc_agent::log_to_kernel();
  keep_heap_small();
  ::signal(SIGPIPE, SIG_IGN);
  ::setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
  tune_kernel();

  base::EventLoop loop;
  fc_agent::Reaper reaper(loop);
  const fc_agent::Modules modules("/modules");
  fc_agent::Uevents uevents;
  modules.load_stage(fc_agent::ModuleStage::kBase);
  const std::int64_t base_loaded_us = fc_agent::monotonic_us();
  // Not beside the boot thread's modules: both change kernel text, for which every processor has to
  // stop each time.
  modules.load_stage(fc_agent::ModuleStage::kLink);
  const std::int64_t link_loaded_us = fc_agent::monotonic_us();

  fc_agent::Agent agent(loop, reaper, modules);
  agent.note_progress("agent", started_us);
  agent.note_progress("bus modules", base_loaded_us);
  agent.note_progress("link modules", link_loaded_us);
  agent.connect(fc_agent::open_link_port(uevents, "/sys/class/virtio-ports", "/dev", kLinkTimeout));
  agent.note_progress("link port", fc_agent::monotonic_us());
  serve(loop);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view name = argc > 0 ? argv[0] : "";
  if (name.substr(name.rfind('/') + 1) == fc_agent::kConmonName) {
    return fc_agent::conmon_main({argv + 1, argv + argc}, fc_agent::Podman().conmon_socket);
  }
  if (argc == 2 && std::string_view(argv[1]) == "--version") {
    const std::string line = base::cat("fc-agent ", base::kVersion, "\n");
    return ::write(STDOUT_FILENO, line.data(), line.size()) < 0 ? 1 : 0;
  }
  if (argc == 4 && std::string_view(argv[1]) == "helper") {
    return fc_agent::run_helper(argv[2], argv[3]);
  }
  if (::getpid() != 1) {
    write_to_stderr("fc-agent: it is the init of a guest and does nothing elsewhere\n");
    return 1;
  }
  const std::int64_t started_us = fc_agent::monotonic_us();
  fc_agent::announce_start();
  try {
    run_guest(started_us);
  } catch (const std::exception& error) {
    // Before the host was reached there is nobody to tell but the console, which the VMM's owner logs.
    write_to_stderr(base::cat("fc-agent: ", error.what(), "\n"));
  }
  fc_agent::kill_everything(std::chrono::seconds(2));
  fc_agent::flush_disks();
  fc_agent::power_off();
}
