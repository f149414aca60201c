#include "vm/monitor/guest.h"

#include <cerrno>
#include <utility>

#include "base/log.h"

namespace vm {

Guest::Guest(base::EventLoop& loop, std::unique_ptr<wire::Link> link, Handler handler)
    : loop_(loop), handler_(std::move(handler)), link_(std::move(link)) {
  wire::Link::Handler link_handler;
  link_handler.on_ready = [this] {
    if (handler_.on_ready) handler_.on_ready();
  };
  // The agent serves and never asks: without on_stream the link refuses, and keeps quiet about it.
  link_handler.on_down = [this](const std::string& why) {
    down_ = true;
    fail_all(base::cat("the guest link is down: ", why));
    if (handler_.on_down) handler_.on_down(why);
  };
  link_->set_handler(std::move(link_handler));
}

Guest::~Guest() = default;

void Guest::boot(const wire::BootPlan& plan) {
  boot_ = std::make_unique<wire::MessageStream>(link_->open(wire::kBootService, ""));
  wire::MessageStream::Handler handler;
  handler.on_message = [this](std::string_view message) {
    try {
      handler_.on_boot_event(wire::parse_boot_event(message));
    } catch (const base::Error& error) {
      base::log_warn(base::cat("boot event of the guest: ", error.what()));
      boot_->reset(wire::ResetReason::kProtocol);
    }
  };
  boot_->set_handler(std::move(handler));
  boot_->send(wire::to_json(plan));
  // Only the agent speaks from here on; both ends finished is how it knows that we have read it all.
  boot_->finish();
}

void Guest::control(wire::ControlRequest request, std::chrono::milliseconds deadline,
                    ControlCallback callback) {
  if (down_) {
    loop_.post(
        [callback = std::move(callback)] { callback(base::Error("the guest link is down")); });
    return;
  }
  if (!control_ || !control_->open()) {
    control_ = std::make_unique<wire::MessageStream>(link_->open(wire::kControlService, ""));
    wire::MessageStream::Handler handler;
    handler.on_message = [this](std::string_view message) {
      try {
        wire::ControlReply reply = wire::parse_control_reply(message);
        const std::uint64_t id = reply.id;
        answer(id, std::move(reply));
      } catch (const base::Error& error) {
        base::log_warn(base::cat("control reply of the guest: ", error.what()));
        control_->reset(wire::ResetReason::kProtocol);
        fail_all("the guest answered in a way that cannot be read");
      }
    };
    handler.on_reset = [this](wire::ResetReason reason) {
      fail_all(base::cat("the guest's control service ended: ", wire::to_string(reason)));
    };
    control_->set_handler(std::move(handler));
  }
  request.id = next_request_++;
  const std::uint64_t id = request.id;
  Request entry;
  entry.callback = std::move(callback);
  entry.deadline = loop_.after(deadline, [this, id] {
    answer(id, base::Error(ETIMEDOUT, "waiting for the guest's answer"));
  });
  requests_.emplace(id, std::move(entry));
  control_->send(wire::to_json(request));
}

void Guest::answer(std::uint64_t id, base::Result<wire::ControlReply> result) {
  const auto it = requests_.find(id);
  if (it == requests_.end()) return;  // too late: its deadline has passed
  const ControlCallback callback = std::move(it->second.callback);
  requests_.erase(it);
  callback(std::move(result));
}

void Guest::fail_all(const std::string& why) {
  auto requests = std::exchange(requests_, {});
  for (auto& [id, request] : requests) request.callback(base::Error(why));
}

void Guest::suspend(std::chrono::milliseconds deadline,
                    std::function<void(base::Result<void>)> done) {
  suspended_ = std::move(done);
  const auto finish = [this](base::Result<void> result) {
    suspend_deadline_.reset();
    if (const auto callback = std::exchange(suspended_, nullptr)) callback(std::move(result));
  };
  suspend_deadline_ = loop_.after(
      deadline, [finish] { finish(base::Error(ETIMEDOUT, "bringing the guest link to rest")); });
  // Not from inside the link's own callback.
  link_->suspend([this, finish] {
    suspend_deadline_ = loop_.after(std::chrono::milliseconds(0), [finish] { finish({}); });
  });
}

void Guest::resume() {
  suspend_deadline_.reset();
  suspended_ = nullptr;
  link_->resume();
}

GuestProcess Guest::open_process(const wire::ProcessStart& start) {
  const std::string id = base::cat("p", next_process_++);
  GuestProcess process;
  if (wire::needs_stdio(start)) process.stdio = link_->open(wire::kStdioService, id);
  if (wire::needs_stderr(start)) process.err = link_->open(wire::kStderrService, id);
  process.control = std::make_unique<wire::MessageStream>(link_->open(wire::kProcessService, id));
  process.control->send(wire::to_json(start));
  return process;
}

}  // namespace vm
