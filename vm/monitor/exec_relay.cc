#include "vm/monitor/exec_relay.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace vm {

ExecRelay::ExecRelay(ClientProcess client, GuestProcess guest, std::function<void()> on_done)
    : detach_(client.start.detach),
      client_(std::move(client.control)),
      guest_(std::move(guest.control)),
      on_done_(std::move(on_done)) {
  if (client.stdio && guest.stdio) {
    ++parts_;
    wire::StreamRelay::Options options;
    options.on_done = [this] { part_done(); };
    stdio_ = std::make_unique<wire::StreamRelay>(std::move(client.stdio), std::move(guest.stdio),
                                                 std::move(options));
  }
  if (client.err && guest.err) {
    ++parts_;
    wire::StreamRelay::Options options;
    options.on_done = [this] { part_done(); };
    err_ = std::make_unique<wire::StreamRelay>(std::move(client.err), std::move(guest.err),
                                               std::move(options));
  }

  wire::MessageStream::Handler from_client;
  from_client.on_message = [this](std::string_view message) {
    try {
      wire::parse_process_command(message);
    } catch (const base::Error& error) {
      base::log_warn(base::cat("an exec client's command: ", error.what()));
      client_->reset(wire::ResetReason::kProtocol);
      return;
    }
    guest_->send(message);
  };
  client_->set_handler(std::move(from_client));

  wire::MessageStream::Handler from_guest;
  from_guest.on_message = [this](std::string_view message) {
    try {
      const auto event = wire::parse_process_event(message);
      // Of a detached process nothing more will be heard.
      if (event.kind != wire::ProcessEvent::Kind::kStarted || detach_) told_ = true;
    } catch (const base::Error& error) {
      base::log_warn(base::cat("an exec event of the guest: ", error.what()));
      guest_->reset(wire::ResetReason::kProtocol);
      fail("the guest answered in a way that cannot be read");
      return;
    }
    client_->send(message);
  };
  from_guest.on_end = [this] {
    fail("the guest ended the process's stream early");  // does nothing when the end is known
    guest_->finish();
    client_->finish();
    if (!std::exchange(control_done_, true)) part_done();
  };
  from_guest.on_reset = [this](wire::ResetReason reason) {
    fail(base::cat("the guest gave up the process: ", wire::to_string(reason)));
    client_->finish();
    if (!std::exchange(control_done_, true)) part_done();
  };
  guest_->set_handler(std::move(from_guest));
}

ExecRelay::~ExecRelay() = default;

void ExecRelay::part_done() {
  if (--parts_ == 0 && on_done_) std::exchange(on_done_, nullptr)();
}

void ExecRelay::fail(const std::string& why) {
  if (std::exchange(told_, true)) return;
  wire::ProcessEvent event;
  event.kind = wire::ProcessEvent::Kind::kFailed;
  event.code = 125;
  event.message = why;
  client_->send(wire::to_json(event));
}

}  // namespace vm
