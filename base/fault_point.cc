#include "base/fault_point.h"

#ifdef FCVM_FAULT_POINTS

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <thread>

#include "base/error.h"

namespace base {
namespace {

void act(std::string_view name, std::string_view action) {
  constexpr std::string_view kDelay = "delay:";
  if (action == "kill") {
    ::kill(::getpid(), SIGKILL);
  } else if (action == "stop") {
    static std::atomic<bool> stopped{false};
    if (!stopped.exchange(true)) ::kill(::getpid(), SIGSTOP);
  } else if (action == "ENOSPC") {
    throw Error(ENOSPC, "passing fault point", name);
  } else if (action == "EIO") {
    throw Error(EIO, "passing fault point", name);
  } else if (action.starts_with(kDelay)) {
    int milliseconds = 0;
    const std::string_view number = action.substr(kDelay.size());
    std::from_chars(number.data(), number.data() + number.size(), milliseconds);
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  }
}

}  // namespace

void fault_point(std::string_view name) {
  const char* faults = std::getenv("FCVM_FAULT");
  if (faults == nullptr) return;
  std::string_view rest = faults;
  while (!rest.empty()) {
    const std::string_view fault = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(fault.size() + 1, rest.size()));
    const auto equals = fault.find('=');
    if (equals != std::string_view::npos && fault.substr(0, equals) == name) {
      act(name, fault.substr(equals + 1));
    }
  }
}

}  // namespace base

#endif
