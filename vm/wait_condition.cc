// Waiting for what a VM's record will say.
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/process.h"
#include "vm/vm_manager.h"

namespace vm {
namespace {

bool holds(const VmRecord& record, const std::string& condition) {
  if (condition == "healthy" || condition == "unhealthy") {
    return record.status == VmStatus::kRunning && record.health.status == condition;
  }
  return to_string(record.status) == (condition == "stopped" ? "exited" : condition);
}

void check(const std::vector<std::string>& conditions) {
  static constexpr std::array<std::string_view, 7> kKnown{
      "created", "running", "paused", "exited", "stopped", "healthy", "unhealthy"};
  for (const auto& condition : conditions) {
    if (std::find(kKnown.begin(), kKnown.end(), condition) == kKnown.end()) {
      throw base::Error(base::cat("unknown condition ", base::quoted(condition)))
          .set_hint("it is created, running, paused, exited, stopped, healthy or unhealthy");
    }
  }
}

}  // namespace

int VmManager::wait_until(const VmRecord& record,
                          const std::vector<std::string>& conditions) const {
  check(conditions);
  // A record is replaced by rename; the watch is there before it is read for the first time.
  const base::Fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  if (!watch || ::inotify_add_watch(watch.get(), store_.records().directory().c_str(),
                                    IN_MOVED_TO | IN_DELETE) < 0) {
    base::throw_errno("watching", store_.records().directory());
  }
  const bool only_its_end = std::all_of(
      conditions.begin(), conditions.end(),
      [](const std::string& condition) { return condition == "exited" || condition == "stopped"; });
  while (true) {
    auto found = store_.read(record.id);
    if (!found.ok() && found.error().errnum() == ENOENT) {
      throw base::Error(base::cat("VM ", base::quoted(record.name), " has ended and was removed"));
    }
    const VmRecord now = std::move(found).take();
    // Its record never says that it has exited, but goes: its monitor knows.
    if (only_its_end && now.auto_remove && now.has_monitor()) return wait(now);
    for (const auto& condition : conditions) {
      if (!holds(now, condition)) continue;
      return now.status == VmStatus::kExited ? now.exit_code.value_or(0) : -1;
    }
    if (now.status == VmStatus::kExited) {
      throw base::Error(base::cat("VM ", base::quoted(now.name), " has ended, with exit code ",
                                  now.exit_code.value_or(0)));
    }
    if (now.status == VmStatus::kRunning && now.health.status.empty() &&
        conditions.front().ends_with("healthy")) {
      throw base::Error(base::cat("VM ", base::quoted(now.name), " has no health check"));
    }
    std::array<pollfd, 2> events{{{watch.get(), POLLIN, 0}, {-1, POLLIN, 0}}};
    const base::Fd monitor = now.has_monitor() ? base::open_process(now.monitor) : base::Fd();
    if (now.has_monitor() && !monitor) {
      reconcile(store_);
      continue;
    }
    if (monitor) events[1].fd = monitor.get();
    if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) {
      base::throw_errno("waiting for VM", now.name);
    }
    std::array<char, 4096> changes{};
    while (::read(watch.get(), changes.data(), changes.size()) > 0) {
    }
  }
}

}  // namespace vm
