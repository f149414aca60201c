#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "wire/boot_plan.h"
#include "wire/control.h"
#include "wire/link.h"
#include "wire/message_stream.h"
#include "wire/process.h"

namespace vm {

// The streams of one process in the guest; any may be null.
struct GuestProcess {
  std::unique_ptr<wire::MessageStream> control;
  std::unique_ptr<wire::Stream> stdio;
  std::unique_ptr<wire::Stream> err;
};

// The monitor's side of the guest link: boot plan, control requests, processes. What the guest says
// is checked here; a message that is malformed ends the stream it came on. Event loop thread only.
class Guest {
 public:
  struct Handler {
    std::function<void()> on_ready;  // the agent has said hello
    std::function<void(const wire::BootEvent&)> on_boot_event;
    std::function<void(std::string why)> on_down;
  };
  using ControlCallback = std::function<void(base::Result<wire::ControlReply>)>;

  Guest(base::EventLoop& loop, std::unique_ptr<wire::Link> link, Handler handler);
  ~Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;

  // Once.
  void boot(const wire::BootPlan& plan);
  // The answer, or an error when the link goes down or `deadline` passes.
  void control(wire::ControlRequest request, std::chrono::milliseconds deadline,
               ControlCallback callback);
  // Brings the link to rest for a snapshot; what is asked or written meanwhile waits for resume().
  // An error at `deadline`, then too the link waits for resume().
  void suspend(std::chrono::milliseconds deadline, std::function<void(base::Result<void>)> done);
  void resume();
  // Opens the streams that `start` announces and sends it.
  GuestProcess open_process(const wire::ProcessStart& start);
  bool down() const { return down_; }

 private:
  struct Request {
    ControlCallback callback;
    base::EventLoop::Registration deadline;
  };
  void answer(std::uint64_t id, base::Result<wire::ControlReply> result);
  void fail_all(const std::string& why);

  base::EventLoop& loop_;
  Handler handler_;
  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::MessageStream> boot_;
  std::unique_ptr<wire::MessageStream> control_;
  std::map<std::uint64_t, Request> requests_;
  std::uint64_t next_request_ = 1;
  std::uint64_t next_process_ = 1;
  std::function<void(base::Result<void>)> suspended_;
  base::EventLoop::Registration suspend_deadline_;
  bool down_ = false;
};

}  // namespace vm
