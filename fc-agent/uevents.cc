#include "fc-agent/uevents.h"

#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "base/error.h"

namespace fc_agent {

Uevents::Uevents()
    : socket_(
          ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT)) {
  if (!socket_) base::throw_errno("opening the kernel's device announcements");
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;
  // SAFETY: sockaddr_nl is what bind wants for AF_NETLINK.
  if (::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    base::throw_errno("listening to the kernel's device announcements");
  }
}

bool Uevents::wait_until(const std::function<bool()>& found, std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + timeout;
  while (true) {
    if (found()) return true;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0 || !base::wait_for(socket_.get(), POLLIN, left)) return found();
    // The text does not matter, and ENOBUFS (announcements were lost) means look again, too.
    std::array<char, 4096> buffer;
    while (::recv(socket_.get(), buffer.data(), buffer.size(), 0) > 0) {
    }
  }
}

}  // namespace fc_agent
