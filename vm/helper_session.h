#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "wire/helper.h"

namespace vm {

// A signal of the user's ended it.
struct Interrupted : base::Cancelled {
  int signal = 0;
};

// Of a helper of the agent's (wire/helper.h).
struct HelperResult {
  int exit_code = 0;
  std::string error;  // its own words, made fit for an error line; empty when it said nothing
};

// Runs a helper over a connection to monitor.sock until it has ended; what it reads and writes are
// the streams of these descriptors, for which -1 stands for none. `work` runs beside it in a thread
// of its own (all signals blocked) and deals with the other ends. Neither may outlive the call: the
// caller's `release` is called when the helper has ended, and has to make `work` return. An exception
// of `work` is thrown when the helper itself did not fail first. SIGINT, SIGTERM, SIGHUP and SIGQUIT
// end it, whether the guest answers or not. Throws base::Error and Interrupted.
struct HelperStreams {
  int stdin_fd = -1;
  int stdout_fd = -1;
};
HelperResult run_helper(base::Fd monitor, const wire::HelperRequest& request,
                        const HelperStreams& streams, const std::function<void()>& work = nullptr,
                        const std::function<void()>& release = nullptr);

}  // namespace vm
