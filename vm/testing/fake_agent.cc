#include "vm/testing/fake_agent.h"

#include <algorithm>
#include <utility>

#include "wire/mux_link.h"

namespace vm::testing {

std::size_t FakeAgent::Process::send(wire::Stream& stream, std::string_view text) {
  const std::size_t n = std::min(text.size(), stream.writable());
  if (n != 0) stream.write(text.substr(0, n));
  return n;
}

void FakeAgent::Process::started() {
  wire::ProcessEvent event;
  event.pid = 42;
  control->send(wire::to_json(event));
}

void FakeAgent::Process::exit(int code, int signal) {
  if (stdio) stdio->shutdown_write();
  if (err) err->shutdown_write();
  wire::ProcessEvent event;
  event.kind = wire::ProcessEvent::Kind::kExited;
  event.code = code;
  event.signal = signal;
  control->send(wire::to_json(event));
  control->finish();
}

void FakeAgent::Process::fail(int code, const std::string& message) {
  wire::ProcessEvent event;
  event.kind = wire::ProcessEvent::Kind::kFailed;
  event.code = code;
  event.message = message;
  control->send(wire::to_json(event));
  control->finish();
}

FakeAgent::FakeAgent(base::EventLoop& loop, base::Fd guest_end) {
  wire::MuxOptions options;
  options.side = wire::Side::kGuest;
  link_ = wire::make_mux_link(loop, std::move(guest_end), options);
  wire::Link::Handler handler;
  handler.on_stream = [this](std::unique_ptr<wire::Stream> stream, const std::string& service,
                             const std::string& argument) {
    take(std::move(stream), service, argument);
  };
  link_->set_handler(std::move(handler));
}

FakeAgent::~FakeAgent() = default;

void FakeAgent::report(const wire::BootEvent& event) {
  boot_->send(wire::to_json(event));
}

void FakeAgent::ready() {
  wire::BootEvent event;
  event.kind = wire::BootEvent::Kind::kReady;
  report(event);
}

void FakeAgent::take(std::unique_ptr<wire::Stream> stream, const std::string& service,
                     const std::string& argument) {
  if (service == wire::kBootService) {
    boot_ = std::make_unique<wire::MessageStream>(std::move(stream));
    wire::MessageStream::Handler handler;
    handler.on_message = [this](std::string_view message) {
      plan_ = std::make_unique<wire::BootPlan>(wire::parse_boot_plan(message));
    };
    boot_->set_handler(std::move(handler));
    return;
  }
  if (service == wire::kControlService) {
    control_ = std::make_unique<wire::MessageStream>(std::move(stream));
    wire::MessageStream::Handler handler;
    handler.on_message = [this](std::string_view message) {
      requests.push_back(wire::parse_control_request(message));
      wire::ControlReply reply;
      if (on_control) reply = on_control(requests.back());
      reply.id = requests.back().id;
      control_->send(wire::to_json(reply));
    };
    control_->set_handler(std::move(handler));
    return;
  }
  auto& process = gathering_[argument];
  if (!process) process = std::make_shared<Process>();
  if (service == wire::kStdioService) process->stdio = std::move(stream);
  if (service == wire::kStderrService) process->err = std::move(stream);
  if (service == wire::kProcessService) {
    process->control = std::make_unique<wire::MessageStream>(std::move(stream));
    wire::MessageStream::Handler handler;
    handler.on_message = [this, id = argument,
                          weak = std::weak_ptr(process)](std::string_view message) {
      const auto self = weak.lock();
      if (!self) return;
      if (!std::exchange(have_start_[id], true)) {
        self->start = wire::parse_process_start(message);
        complete(id);
      } else {
        self->commands.push_back(wire::parse_process_command(message));
      }
    };
    process->control->set_handler(std::move(handler));
  }
  complete(argument);
}

void FakeAgent::complete(const std::string& id) {
  const auto process = gathering_[id];
  if (!have_start_[id]) return;
  if (wire::needs_stdio(process->start) && !process->stdio) return;
  if (wire::needs_stderr(process->start) && !process->err) return;
  if (process->stdio) {
    wire::Stream::Handler handler;
    handler.on_data = [weak = std::weak_ptr(process)](std::string_view data) {
      if (const auto self = weak.lock()) {
        self->input += data;
        self->stdio->consume(data.size());
      }
    };
    handler.on_eof = [weak = std::weak_ptr(process)] {
      if (const auto self = weak.lock()) self->input_ended = true;
    };
    process->stdio->set_handler(std::move(handler));
  }
  processes.push_back(process);
}

}  // namespace vm::testing
