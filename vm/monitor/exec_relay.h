#pragma once

#include <functional>
#include <memory>
#include <string>

#include "vm/monitor/client.h"
#include "vm/monitor/guest.h"
#include "wire/pump.h"

namespace vm {

// One exec: joins a client's streams to those of a process in the guest. When the client goes away
// the guest's process goes on without it, as with podman exec; when the guest goes the client is
// told. Event loop thread only.
class ExecRelay {
 public:
  // `on_done` may destroy the relay.
  ExecRelay(ClientProcess client, GuestProcess guest, std::function<void()> on_done);
  ~ExecRelay();
  ExecRelay(const ExecRelay&) = delete;
  ExecRelay& operator=(const ExecRelay&) = delete;

  // The guest is gone: tells the client, once, with exit code 125 and `why`.
  void fail(const std::string& why);

 private:
  bool detach_;
  std::unique_ptr<wire::MessageStream> client_;
  std::unique_ptr<wire::MessageStream> guest_;
  std::unique_ptr<wire::StreamRelay> stdio_;
  std::unique_ptr<wire::StreamRelay> err_;
  void part_done();

  std::function<void()> on_done_;
  int parts_ = 1;      // still under way: the process's own stream, stdio, stderr
  bool told_ = false;  // the client has the end, whatever it was
  bool control_done_ = false;
};

}  // namespace vm
