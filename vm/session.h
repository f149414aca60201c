#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "wire/process.h"

namespace vm {

struct SessionOptions {
  // Borrowed; never made non-blocking, for they belong to the shell too.
  int stdin_fd = 0;
  int stdout_fd = 1;
  int stderr_fd = 2;
  // Bytes that end the session when typed in a row on a terminal; empty: none. Used with
  // ProcessStart::tty only, so that binary input passes unchanged.
  std::string detach_keys;
  // Pass the signals below on; without it they do to this program what they do to any.
  bool proxy_signals = true;
  // With proxy_signals: SIGINT, SIGTERM, SIGHUP and SIGQUIT end the session, too, when the process
  // has not ended a second later, or at the next one. For what the user waits for and did not start.
  bool signals_end = false;
  // The process runs: called once, before its output is complete.
  std::function<void()> on_started;
};

struct SessionResult {
  enum class End {
    kExited,       // exit_code is the process's own, or 128 + signal
    kFailed,       // it never ran, or the VM failed under it: exit_code is 125, 126 or 127
    kDetached,     // the detach keys were typed; the process goes on
    kStarted,      // ProcessStart::detach: it runs
    kInterrupted,  // by a signal (signals_end): exit_code is 128 + its number; the process may go on
    kOutputClosed,  // our output cannot be written; the process goes on. 126 when nobody reads it
                    // any more, as podman, otherwise 125
  };
  End end = End::kExited;
  int exit_code = 0;
  bool oom_killed = false;
  std::string message;  // kFailed: why
  int signal = 0;       // signals_end: the first that came, however this ended
  // Output of the process was lost on the way. With kExited only when that is not because nobody
  // reads it any more; exit_code 0 is 125 then.
  std::optional<base::Error> output_error;
};

// Runs a process over a connection to monitor.sock (wire/process.h) and joins its streams with
// ours until it has ended and all its output has been written.
//
// SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1 and SIGUSR2 go to the process; a process that has not
// started yet is given up by the monitor then. With a tty and a terminal on `stdin_fd` the terminal
// is raw from the process's start on, and restored however this ends, deadly signals included;
// window changes are passed on. Ending this program ends nothing in the VM.
//
// Needs the calling thread to be the only one, and SIGPIPE ignored. Uses `loop`, which must have
// nothing else to do. Throws base::Error when the monitor goes away.
SessionResult run_session(base::EventLoop& loop, base::Fd monitor_socket, wire::ProcessStart start,
                          const SessionOptions& options);

}  // namespace vm
