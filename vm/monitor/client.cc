#include "vm/monitor/client.h"

#include <chrono>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "vm/monitor_protocol.h"
#include "wire/mux_link.h"

namespace vm {

Client::Client(base::EventLoop& loop, base::Fd socket, Handler handler)
    : loop_(loop), handler_(std::move(handler)) {
  wire::MuxOptions options;
  options.side = wire::Side::kGuest;  // the serving end, as the agent is on the guest link
  link_ = wire::make_mux_link(loop, std::move(socket), options);
  wire::Link::Handler link_handler;
  link_handler.on_stream = [this](std::unique_ptr<wire::Stream> stream, const std::string& service,
                                  const std::string& argument) {
    take_stream(std::move(stream), service, argument);
  };
  link_handler.on_down = [this](const std::string&) {
    gone_ = true;
    if (handler_.on_gone) handler_.on_gone();
  };
  link_->set_handler(std::move(link_handler));
}

Client::~Client() = default;

void Client::take_stream(std::unique_ptr<wire::Stream> stream, const std::string& service,
                         const std::string& argument) {
  if (service == wire::kRequestService) {
    serve_request(std::move(stream));
    return;
  }
  if (gathering_.size() >= kMaxGathering && !gathering_.contains(argument)) return;
  Gathering& gathering = gathering_[argument];
  if (service == wire::kStdioService && !gathering.process.stdio) {
    gathering.process.stdio = std::move(stream);
  } else if (service == wire::kStderrService && !gathering.process.err) {
    gathering.process.err = std::move(stream);
  } else if (service == wire::kProcessService && !gathering.process.control) {
    gathering.process.control = std::make_unique<wire::MessageStream>(std::move(stream));
    wire::MessageStream::Handler handler;
    handler.on_message = [this, id = argument](std::string_view message) {
      take_start(id, message);
    };
    handler.on_reset = [this, id = argument](wire::ResetReason) {
      loop_.post([this, id, alive = std::weak_ptr(alive_)] {
        if (alive.lock()) gathering_.erase(id);
      });
    };
    gathering.process.control->set_handler(std::move(handler));
  }
  hand_over(argument);
}

void Client::take_start(const std::string& id, std::string_view message) {
  const auto it = gathering_.find(id);
  if (it == gathering_.end() || it->second.started) return;
  try {
    it->second.process.start = wire::parse_process_start(message);
    it->second.started = true;
  } catch (const base::Error& error) {
    base::log_warn(base::cat("a client's process request: ", error.what()));
    it->second.process.control->reset(wire::ResetReason::kProtocol);
    return;
  }
  hand_over(id);
}

void Client::hand_over(const std::string& id) {
  const auto it = gathering_.find(id);
  if (it == gathering_.end() || !it->second.started) return;
  const ClientProcess& process = it->second.process;
  if (wire::needs_stdio(process.start) && !process.stdio) return;
  if (wire::needs_stderr(process.start) && !process.err) return;
  ClientProcess complete = std::move(it->second.process);
  gathering_.erase(it);
  handler_.on_process(std::move(complete));
}

void Client::serve_request(std::unique_ptr<wire::Stream> stream) {
  requests_.remove_if([](const auto& request) { return !request->open(); });
  if (requests_.size() >= kMaxGathering) return;
  auto request = std::make_shared<wire::MessageStream>(std::move(stream));
  requests_.push_back(request);
  wire::MessageStream::Handler handler;
  handler.on_message = [this, weak = std::weak_ptr(request)](std::string_view message) {
    handler_.on_request(std::string(message), [weak](const std::string& reply) {
      if (const auto to = weak.lock()) {
        to->send(reply);
        to->finish();
      }
    });
  };
  request->set_handler(std::move(handler));
}

void refuse_client(base::Fd socket, const std::string& why) noexcept {
  constexpr std::chrono::seconds kPatience{10};
  try {
    base::EventLoop loop;
    bool gone = false;
    std::list<ClientProcess> refused;
    Client::Handler handler;
    handler.on_process = [&](ClientProcess process) {
      wire::ProcessEvent event;
      event.kind = wire::ProcessEvent::Kind::kFailed;
      event.code = 125;
      event.message = why;
      process.control->send(wire::to_json(event));
      process.control->finish();
      for (auto* output : {&process.stdio, &process.err}) {
        if (*output) (*output)->shutdown_write();
      }
      refused.push_back(std::move(process));
    };
    handler.on_request = [&](const std::string&, const std::function<void(std::string)>& reply) {
      reply(to_json(MonitorReply{false, why, {}, false, {}}));
    };
    handler.on_gone = [&] { gone = true; };
    const Client client(loop, std::move(socket), std::move(handler));
    loop.run_until([&] { return gone; }, kPatience);
  } catch (const std::exception& error) {
    base::log_error(base::cat("refusing a client: ", error.what()));
  }
}

}  // namespace vm
