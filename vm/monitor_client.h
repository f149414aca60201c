#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "vm/monitor_protocol.h"

namespace base {
class Cancellation;
}

namespace vm {

// Sends one request over a connection to monitor.sock and waits for the reply. Throws base::Error:
// ETIMEDOUT after `timeout` (negative: never), ECONNRESET when the monitor goes away first; and
// base::Cancelled.
MonitorReply ask_monitor(base::Fd socket, const MonitorRequest& request,
                         std::chrono::milliseconds timeout,
                         const base::Cancellation* cancellation = nullptr);

}  // namespace vm
