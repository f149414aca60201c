#include "base/cancellation.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "base/error.h"

namespace base {

Cancellation::Cancellation() : event_(make_event_fd(0, EFD_NONBLOCK)) {}

void Cancellation::cancel() noexcept {
  const std::uint64_t one = 1;
  // A full counter means it is readable already.
  [[maybe_unused]] const ssize_t n = ::write(event_.get(), &one, sizeof one);
}

bool Cancellation::cancelled() const noexcept {
  pollfd entry{event_.get(), POLLIN, 0};
  return ::poll(&entry, 1, 0) > 0;
}

void Cancellation::check() const {
  if (cancelled()) throw Cancelled{};
}

}  // namespace base
