#include "vm/monitor_client.h"

#include <cerrno>
#include <optional>
#include <utility>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/event_loop.h"
#include "wire/message_stream.h"
#include "wire/mux_link.h"
#include "wire/process.h"

namespace vm {

MonitorReply ask_monitor(base::Fd socket, const MonitorRequest& request,
                         std::chrono::milliseconds timeout,
                         const base::Cancellation* cancellation) {
  base::EventLoop loop;
  std::optional<std::string> answer;
  bool down = false;
  const auto link = wire::make_mux_link(loop, std::move(socket), {});
  wire::Link::Handler link_handler;
  link_handler.on_down = [&](const std::string&) { down = true; };
  link->set_handler(std::move(link_handler));

  wire::MessageStream stream(link->open(wire::kRequestService, ""));
  wire::MessageStream::Handler handler;
  handler.on_message = [&](std::string_view message) { answer = std::string(message); };
  handler.on_reset = [&](wire::ResetReason) { down = true; };
  stream.set_handler(std::move(handler));
  stream.send(to_json(request));

  base::EventLoop::Registration cancel_watch;
  bool cancelled = false;
  if (cancellation != nullptr) {
    cancel_watch = loop.watch(cancellation->fd(), EPOLLIN, [&](std::uint32_t) {
      cancelled = true;
      cancel_watch.reset();
    });
  }
  const auto done = [&] { return answer || down || cancelled; };
  if (timeout.count() < 0) {
    while (!done()) loop.run_once(std::chrono::milliseconds(-1));
  } else if (!loop.run_until(done, timeout)) {
    throw base::Error(ETIMEDOUT, "waiting for the VM's monitor");
  }
  if (answer) return parse_monitor_reply(*answer);
  if (cancelled) throw base::Cancelled{};
  throw base::Error(ECONNRESET, "asking the VM's monitor");
}

}  // namespace vm
