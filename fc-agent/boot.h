#pragma once

#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/event_loop.h"
#include "fc-agent/modules.h"
#include "wire/boot_plan.h"

namespace fc_agent {

// Turns a started kernel into a guest with the plan's root, on a thread of its own, so that reaching
// the host, reading the plan, probing disks and mounting happen at the same time.
//
// What every plan wants is done before the plan is there: the disk with serial "root" and the system's
// file systems are mounted. Everything but the constructor, give_plan() and the destructor runs on the
// boot thread, or on one it waits for; events come on the event loop's thread.
class Boot {
 public:
  // `on_event` gets kProgress events and, as the last one, kReady or kFailed.
  Boot(base::EventLoop& loop, const Modules& modules,
       std::function<void(wire::BootEvent)> on_event);
  // Waits for the boot thread; one that still waits for its plan gives up.
  ~Boot();
  Boot(const Boot&) = delete;
  Boot& operator=(const Boot&) = delete;

  // At most once.
  void give_plan(wire::BootPlan plan);

 private:
  void run();
  void step(std::string_view name, const std::function<void()>& work);
  // Stays as it is from then on.
  const wire::BootPlan& wait_for_plan();
  void prepare_root(const std::string& device);
  void mount_early_disks();
  void apply(const wire::BootPlan& plan);
  void post(wire::BootEvent event);

  base::EventLoop& loop_;
  const Modules& modules_;
  const std::function<void(wire::BootEvent)> on_event_;

  std::mutex mutex_;
  std::condition_variable plan_changed_;
  std::optional<wire::BootPlan> plan_;  // guarded by mutex_
  bool cancelled_ = false;              // guarded by mutex_

  std::string current_step_;  // boot thread
  // Boot thread. What needs no disk is done beside it: it mostly waits for other processors.
  std::future<void> loopback_;
  std::shared_future<void> system_mounts_;
  std::future<void> early_disks_;
  std::future<void> container_modules_;
  std::shared_future<void> protection_;
  std::future<void> warm_up_;
  std::string prepared_device_;  // boot thread: the disk mounted at kNewRoot
  std::thread thread_;           // last: it uses everything above
};

// Where the root is put together, and the step after which it is there.
inline constexpr const char* kNewRoot = "/newroot";
inline constexpr const char* kRootStep = "root";

// How long a guest waits for the disks its plan names, and for the plan.
inline constexpr std::chrono::seconds kDiskTimeout{30};
inline constexpr std::chrono::seconds kPlanTimeout{120};

}  // namespace fc_agent
