#pragma once

#include <csignal>

#include "base/cancellation.h"

namespace cli {

// While it lives SIGINT, SIGTERM and SIGHUP cancel instead of killing, so that a long job can take
// back what it has begun. One object at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  ~InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

  const base::Cancellation& cancellation() const { return cancellation_; }
  // The signal that came, or 0.
  static int signal();

 private:
  base::Cancellation cancellation_;
  struct sigaction old_[3];
};

}  // namespace cli
