#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/link.h"
#include "wire/message_stream.h"
#include "wire/process.h"

namespace vm {

// A process a client asks for, with the streams that go with it (wire/process.h).
struct ClientProcess {
  wire::ProcessStart start;
  std::unique_ptr<wire::MessageStream> control;
  std::unique_ptr<wire::Stream> stdio;
  std::unique_ptr<wire::Stream> err;
};

// One connection to monitor.sock: gathers the streams of each process until they are complete, and
// hands requests on. Trusted as far as the user is, bounded all the same. Event loop thread only.
class Client {
 public:
  struct Handler {
    std::function<void(ClientProcess)> on_process;
    // `reply` may be kept; calling it sends the answer and may come after the client has gone.
    std::function<void(std::string request, std::function<void(std::string reply)> reply)>
        on_request;
    std::function<void()> on_gone;
  };

  Client(base::EventLoop& loop, base::Fd socket, Handler handler);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool gone() const { return gone_; }

 private:
  struct Gathering {
    ClientProcess process;
    bool started = false;  // ProcessStart has come
  };
  void take_stream(std::unique_ptr<wire::Stream> stream, const std::string& service,
                   const std::string& argument);
  void take_start(const std::string& id, std::string_view message);
  void hand_over(const std::string& id);
  void serve_request(std::unique_ptr<wire::Stream> stream);

  static constexpr std::size_t kMaxGathering = 64;

  base::EventLoop& loop_;
  Handler handler_;
  std::unique_ptr<wire::Link> link_;
  std::map<std::string, Gathering> gathering_;
  std::list<std::shared_ptr<wire::MessageStream>> requests_;
  bool gone_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // for callbacks posted to the loop
};

// For a VM that cannot be kept: answers the client's process or request with `why` (125), and returns
// when it has gone or has not asked for too long.
void refuse_client(base::Fd socket, const std::string& why) noexcept;

}  // namespace vm
