#pragma once

#include <chrono>
#include <functional>

#include "base/fd.h"

namespace fc_agent {

// The kernel's announcements of devices (NETLINK_KOBJECT_UEVENT, group 1). Open it before looking
// for a device: what appears afterwards is announced here, so nothing is missed and nobody polls.
class Uevents {
 public:
  Uevents();

  // Calls `found` now and after every batch of announcements until it returns true or the time is
  // over; says which.
  bool wait_until(const std::function<bool()>& found, std::chrono::milliseconds timeout);

 private:
  base::Fd socket_;
};

}  // namespace fc_agent
