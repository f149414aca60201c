#include "fc-agent/link_port.h"

#include <fcntl.h>
#include <sys/epoll.h>

#include <cerrno>

#include "base/error.h"
#include "base/files.h"

namespace fc_agent {
namespace {

// Until the host has opened its side, poll reports a hang-up and read an end of file. The driver
// wakes pollers when that changes; edge-triggered, for the standing hang-up would be reported
// over and over.
void wait_for_host(const base::Fd& port, std::chrono::milliseconds timeout) {
  using Clock = std::chrono::steady_clock;
  const base::Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll) base::throw_errno("watching the guest link");
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLET;
  if (::epoll_ctl(epoll.get(), EPOLL_CTL_ADD, port.get(), &event) != 0) {
    if (errno == EPERM) return;  // no device: a test's stand-in
    base::throw_errno("watching the guest link");
  }
  const auto deadline = Clock::now() + timeout;
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) throw base::Error(ETIMEDOUT, "waiting for the host on", kLinkPortName);
    const int n = ::epoll_wait(epoll.get(), &event, 1, static_cast<int>(left));
    if (n < 0 && errno != EINTR) base::throw_errno("watching the guest link");
    if (n == 1 && (event.events & EPOLLHUP) == 0) return;
  }
}

}  // namespace

std::string find_port(const std::string& sys_directory, const std::string& port_name) {
  for (const auto& device : base::list_directory(sys_directory)) {
    // The name arrives in a message of its own after the device: until then there is no such file.
    const auto text = base::try_read_file(base::cat(sys_directory, "/", device, "/name"), 256);
    if (text && (*text == port_name || *text == port_name + "\n")) return device;
  }
  return {};
}

base::Fd open_link_port(Uevents& uevents, const std::string& sys_directory,
                        const std::string& dev_directory, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  base::Fd port;
  const bool found = uevents.wait_until(
      [&] {
        const std::string device = find_port(sys_directory, kLinkPortName);
        if (device.empty()) return false;
        port = base::try_open_file(base::cat(dev_directory, "/", device), O_RDWR | O_NONBLOCK);
        if (!port && errno != ENOENT) base::throw_errno("opening guest link", device);
        return port.valid();
      },
      timeout);
  if (!found) throw base::Error(ETIMEDOUT, "waiting for guest link", kLinkPortName);
  wait_for_host(port, std::chrono::ceil<std::chrono::milliseconds>(
                          deadline - std::chrono::steady_clock::now()));
  return port;
}

}  // namespace fc_agent
