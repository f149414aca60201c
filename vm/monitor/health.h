#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "vm/health_check.h"
#include "vm/monitor/guest.h"
#include "vm/vm_record.h"

namespace vm {

// Checks a running container's health, one check at a time: on a timer, and when it is asked to.
// Exists as long as the container runs. Event loop thread only.
class HealthMonitor {
 public:
  // podman's limits of what is remembered.
  static constexpr std::size_t kMaxLog = 5;
  static constexpr std::size_t kMaxOutputBytes = 500;

  struct Hooks {
    std::function<GuestProcess(const wire::ProcessStart&)> open_process;
    std::function<bool()> can_check;  // false while the VM is paused
    std::function<void()> on_change;  // `health` was written to
  };

  // Sets `health`, which must outlive this object, to "starting". `process_json` is an OCI process
  // object that runs the check.
  HealthMonitor(base::EventLoop& loop, HealthCheck check, std::string process_json, Health& health,
                Hooks hooks);
  ~HealthMonitor();
  HealthMonitor(const HealthMonitor&) = delete;
  HealthMonitor& operator=(const HealthMonitor&) = delete;

  // Checks now, or waits for the check under way. `done` is told whether it passed.
  using Done = std::function<void(bool passed)>;
  void check(Done done);

 private:
  struct Probe;
  void schedule();
  void on_timer();
  void begin_probe();
  void take_output(wire::Stream& stream);
  void on_event(std::string_view message);
  void probe_ended(int exit_code, const std::string& problem);

  base::EventLoop& loop_;
  HealthCheck check_;
  std::string process_json_;
  Health& health_;
  Hooks hooks_;
  base::EventLoop::Clock::time_point began_;
  base::EventLoop::Registration timer_;
  base::EventLoop::Registration deadline_;
  std::unique_ptr<Probe> probe_;  // the check under way
  std::vector<Done> waiting_;
};

}  // namespace vm
