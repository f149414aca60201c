#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>

#include "base/event_loop.h"
#include "fc-agent/process_service.h"
#include "wire/control.h"
#include "wire/link.h"
#include "wire/message_stream.h"

namespace fc_agent {

// Serves kControlService: each request gets one reply, in order. A request that makes no sense costs
// its stream. Loop thread.
class ControlService {
 public:
  // Asked to stop the guest: signal for the container (0: SIGTERM), how long it may take, and what to
  // call when the disks are flushed and only the power is left to switch off.
  using Shutdown = std::function<void(int signal, std::chrono::milliseconds timeout,
                                      std::function<void()> done)>;

  ControlService(base::EventLoop& loop, ProcessService& processes, Shutdown shutdown);

  void accept(std::unique_ptr<wire::Stream> stream);

  static constexpr std::size_t kMaxStreams = 8;

 private:
  using Connection = std::shared_ptr<wire::MessageStream>;

  void handle(const Connection& connection, std::string_view message);
  void answer(const wire::ControlRequest& request, wire::ControlReply& reply);
  void remove_later(const wire::MessageStream* connection);

  base::EventLoop& loop_;
  ProcessService& processes_;
  Shutdown shutdown_;
  std::list<Connection> connections_;
};

}  // namespace fc_agent
