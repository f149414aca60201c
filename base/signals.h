#pragma once

#include <csignal>
#include <functional>
#include <initializer_list>

#include "base/event_loop.h"
#include "base/fd.h"

namespace base {

// Blocks signals for the calling thread (and threads it starts) while it lives; restores the old
// mask afterwards.
class SignalMask {
 public:
  explicit SignalMask(std::initializer_list<int> signals);
  ~SignalMask();
  SignalMask(const SignalMask&) = delete;
  SignalMask& operator=(const SignalMask&) = delete;
  const sigset_t& set() const { return set_; }

 private:
  sigset_t set_{};
  sigset_t old_{};
};

// Signals read from a signalfd on an event loop. Blocks them for the calling thread, so make it
// before any other thread starts. The callback gets the signal's number.
class SignalWatch {
 public:
  SignalWatch(EventLoop& loop, std::initializer_list<int> signals,
              std::function<void(int)> callback);

 private:
  SignalMask mask_;
  Fd fd_;
  std::function<void(int)> callback_;
  EventLoop::Registration watch_;
};

// Number of "TERM", "SIGTERM" or "15"; 0 when it is none. Real-time signals as RTMIN+n, RTMAX-n.
int parse_signal(std::string_view text);
// "SIGTERM"; "SIG<n>" for one without a name.
std::string signal_name(int signal);

}  // namespace base
