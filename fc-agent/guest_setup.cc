#include "fc-agent/guest_setup.h"

#include <fcntl.h>
#include <linux/random.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/fd.h"

namespace fc_agent {

void set_host_name(const std::string& name) {
  if (::sethostname(name.data(), name.size()) != 0) {
    base::throw_errno("setting the host name to", name);
  }
}

void set_wall_clock(std::int64_t since_epoch_ns) {
  constexpr std::int64_t kNsPerSecond = 1'000'000'000;
  timespec time{};
  time.tv_sec = static_cast<time_t>(since_epoch_ns / kNsPerSecond);
  time.tv_nsec = static_cast<long>(since_epoch_ns % kNsPerSecond);
  if (::clock_settime(CLOCK_REALTIME, &time) != 0) base::throw_errno("setting the clock");
}

void add_entropy(std::string_view bytes) {
  constexpr std::size_t kMaxBytes = 4096;
  bytes = bytes.substr(0, kMaxBytes);
  if (bytes.empty()) return;
  const std::size_t words = (bytes.size() + sizeof(std::uint32_t) - 1) / sizeof(std::uint32_t);
  // SAFETY: rand_pool_info is two ints and then buf_size bytes; ints have its alignment.
  std::vector<int> buffer(2 + words, 0);
  buffer[0] = static_cast<int>(bytes.size() * 8);
  buffer[1] = static_cast<int>(bytes.size());
  std::memcpy(&buffer[2], bytes.data(), bytes.size());
  const base::Fd random = base::open_file("/dev/random", O_WRONLY);
  if (::ioctl(random.get(), RNDADDENTROPY, buffer.data()) != 0) {
    base::throw_errno("adding entropy");
  }
}

void reseed_random() {
  const base::Fd random = base::open_file("/dev/random", O_WRONLY);
  if (::ioctl(random.get(), RNDRESEEDCRNG) != 0)
    base::throw_errno("reseeding the kernel's generator");
}

void bring_loopback_up() {
  const base::Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket) base::throw_errno("opening a socket for interface", "lo");
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  // SAFETY: both calls take an ifreq with the name set.
  if (::ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) {
    base::throw_errno("reading the flags of interface", "lo");
  }
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  if (::ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) {
    base::throw_errno("bringing up interface", "lo");
  }
}

std::int64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace fc_agent
