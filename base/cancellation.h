#pragma once

#include "base/fd.h"

namespace base {

// Lets one side end the other's waits: fd() becomes readable, for ever, once cancel() was called.
// cancel() may be called from any thread and from a signal handler.
class Cancellation {
 public:
  Cancellation();
  void cancel() noexcept;
  bool cancelled() const noexcept;
  int fd() const noexcept { return event_.get(); }
  // Throws base::Cancelled when cancelled.
  void check() const;

 private:
  Fd event_;
};

}  // namespace base
