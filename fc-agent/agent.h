#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "fc-agent/boot.h"
#include "fc-agent/control_service.h"
#include "fc-agent/modules.h"
#include "fc-agent/process_service.h"
#include "fc-agent/reaper.h"
#include "wire/boot_plan.h"
#include "wire/link.h"
#include "wire/message_stream.h"

namespace fc_agent {

// The guest's side of the guest link: hands streams to the services, the boot plan to the boot
// thread and its events to the host, and brings the guest down in order. Loop thread.
class Agent {
 public:
  // Starts the boot thread: block no signals and change no process-wide state after this.
  Agent(base::EventLoop& loop, Reaper& reaper, const Modules& modules);
  ~Agent();

  // Something done before or beside the boot thread, for the host's timings.
  void note_progress(std::string step, std::int64_t since_start_us);

  // Serves the host on `port`.
  void connect(base::Fd port);

  // The guest cannot do its job: tells the host, when it can be reached, and switches off.
  void give_up(const std::string& step, const std::string& why);

 private:
  void on_stream(std::unique_ptr<wire::Stream> stream, const std::string& service,
                 const std::string& argument);
  void on_boot_stream(std::unique_ptr<wire::Stream> stream);
  void on_boot_event(const wire::BootEvent& event);
  void send_boot_event(const wire::BootEvent& event);
  void on_link_down(const std::string& why);
  void shut_down(int signal, std::chrono::milliseconds timeout, std::function<void()> done);
  void end_guest();
  void load_late_modules();

  base::EventLoop& loop_;
  const Modules& modules_;
  ProcessService processes_;
  ControlService control_;
  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::MessageStream> boot_stream_;
  std::vector<wire::BootEvent> early_events_;  // until the host has opened the boot stream
  std::optional<ContainerPlan> container_;     // from the plan, until the guest is ready
  bool plan_taken_ = false;
  bool shutting_down_ = false;
  std::vector<std::function<void()>> shutdown_done_;
  base::EventLoop::Registration kill_timer_;
  base::EventLoop::Registration end_timer_;
  base::EventLoop::Registration late_timer_;
  std::unique_ptr<Boot> boot_;  // last: its events come to all of the above
};

}  // namespace fc_agent
