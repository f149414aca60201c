#include "fc-agent/control_service.h"

#include <algorithm>
#include <csignal>
#include <utility>

#include "base/error.h"
#include "fc-agent/guest_setup.h"
#include "fc-agent/snapshot.h"
#include "fc-agent/stats.h"

namespace fc_agent {
namespace {

constexpr std::int64_t kMaxTimeoutMs = 24LL * 3600 * 1000;

}  // namespace

ControlService::ControlService(base::EventLoop& loop, ProcessService& processes, Shutdown shutdown)
    : loop_(loop), processes_(processes), shutdown_(std::move(shutdown)) {}

void ControlService::accept(std::unique_ptr<wire::Stream> stream) {
  // Destroying the stream refuses it.
  if (connections_.size() >= kMaxStreams) return;
  auto connection = std::make_shared<wire::MessageStream>(std::move(stream));
  connections_.push_back(connection);
  const std::weak_ptr<wire::MessageStream> weak = connection;
  wire::MessageStream::Handler handler;
  handler.on_message = [this, weak](std::string_view message) {
    if (const auto self = weak.lock()) handle(self, message);
  };
  handler.on_end = [this, weak] {
    const auto self = weak.lock();
    if (!self) return;
    self->finish();
    remove_later(self.get());
  };
  handler.on_reset = [this, weak](wire::ResetReason) { remove_later(weak.lock().get()); };
  connection->set_handler(std::move(handler));
}

void ControlService::remove_later(const wire::MessageStream* connection) {
  loop_.post([this, connection] {
    connections_.remove_if(
        [connection](const Connection& candidate) { return candidate.get() == connection; });
  });
}

void ControlService::handle(const Connection& connection, std::string_view message) {
  const wire::ControlRequest request = wire::parse_control_request(message);
  wire::ControlReply reply;
  reply.id = request.id;
  if (request.op == wire::ControlRequest::Op::kShutdown) {
    const std::chrono::milliseconds timeout(
        std::clamp<std::int64_t>(request.timeout_ms, 0, kMaxTimeoutMs));
    // The connection lives until the reply is sent, whatever happens to its stream.
    shutdown_(request.signal, timeout,
              [connection, reply] { connection->send(wire::to_json(reply)); });
    return;
  }
  try {
    answer(request, reply);
  } catch (const base::Error& error) {
    reply.ok = false;
    reply.error = error.what();
  }
  connection->send(wire::to_json(reply));
}

void ControlService::answer(const wire::ControlRequest& request, wire::ControlReply& reply) {
  using Op = wire::ControlRequest::Op;
  switch (request.op) {
    case Op::kPing:
    case Op::kShutdown:
      return;
    case Op::kSignalContainer:
      if (!processes_.container_alive()) throw base::Error("the container is not running");
      processes_.signal_container(request.signal, request.all);
      return;
    case Op::kStats:
      collect_stats(processes_.container_cgroup(), reply);
      return;
    case Op::kSetClock:
      set_wall_clock(request.wall_clock_ns);
      return;
    case Op::kQuiesce:
      if (!processes_.container_running()) throw base::Error("the container is not running");
      quiesce(processes_.container_cgroup(), processes_.container_pid());
      return;
    case Op::kIdentify:
      take_identity(*request.identity, processes_.container_pid());
      return;
    case Op::kThaw:
      thaw(processes_.container_cgroup(), request.wall_clock_ns);
      return;
  }
}

}  // namespace fc_agent
