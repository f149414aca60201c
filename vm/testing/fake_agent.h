#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/boot_plan.h"
#include "wire/control.h"
#include "wire/link.h"
#include "wire/message_stream.h"
#include "wire/process.h"

namespace vm::testing {

// The guest's side of the guest link, played by a test: takes the boot plan, starts "processes" that
// the test drives by hand, answers control requests. Event loop thread only.
class FakeAgent {
 public:
  struct Process {
    wire::ProcessStart start;
    std::unique_ptr<wire::MessageStream> control;
    std::unique_ptr<wire::Stream> stdio;
    std::unique_ptr<wire::Stream> err;
    std::string input;  // what came over stdio
    bool input_ended = false;
    std::vector<wire::ProcessCommand> commands;

    // Sends as much as the credit allows; returns how much that was.
    std::size_t print(std::string_view text) const { return send(*stdio, text); }
    std::size_t complain(std::string_view text) const { return send(*err, text); }
    void started();
    // Ends the outputs, then reports the exit.
    void exit(int code, int signal = 0);
    void fail(int code, const std::string& message);

   private:
    static std::size_t send(wire::Stream& stream, std::string_view text);
  };

  FakeAgent(base::EventLoop& loop, base::Fd guest_end);
  ~FakeAgent();

  const wire::BootPlan* plan() const { return plan_.get(); }
  void report(const wire::BootEvent& event);
  void ready();

  // Processes asked for whose streams are complete, in order.
  std::vector<std::shared_ptr<Process>> processes;
  std::vector<wire::ControlRequest> requests;
  // Answers a control request; the default answers ok.
  std::function<wire::ControlReply(const wire::ControlRequest&)> on_control;
  // Raw bytes instead of well-formed messages.
  wire::MessageStream* boot_stream() { return boot_.get(); }
  void vanish() { link_.reset(); }

 private:
  void take(std::unique_ptr<wire::Stream> stream, const std::string& service,
            const std::string& argument);
  void complete(const std::string& id);

  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::MessageStream> boot_;
  std::unique_ptr<wire::MessageStream> control_;
  std::unique_ptr<wire::BootPlan> plan_;
  std::map<std::string, std::shared_ptr<Process>> gathering_;
  std::map<std::string, bool> have_start_;
};

}  // namespace vm::testing
