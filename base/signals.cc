#include "base/signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cctype>
#include <charconv>
#include <cstring>

#include "base/error.h"

namespace base {

SignalMask::SignalMask(std::initializer_list<int> signals) {
  sigemptyset(&set_);
  for (const int signal : signals) sigaddset(&set_, signal);
  const int error = pthread_sigmask(SIG_BLOCK, &set_, &old_);
  if (error != 0) throw Error(error, "blocking signals");
}

SignalMask::~SignalMask() {
  pthread_sigmask(SIG_SETMASK, &old_, nullptr);
}

SignalWatch::SignalWatch(EventLoop& loop, std::initializer_list<int> signals,
                         std::function<void(int)> callback)
    : mask_(signals),
      fd_(::signalfd(-1, &mask_.set(), SFD_CLOEXEC | SFD_NONBLOCK)),
      callback_(std::move(callback)) {
  if (!fd_) throw_errno("creating signalfd");
  watch_ = loop.watch(fd_.get(), EPOLLIN, [this](std::uint32_t) {
    signalfd_siginfo info;
    while (::read(fd_.get(), &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      callback_(static_cast<int>(info.ssi_signo));
    }
  });
}

int parse_signal(std::string_view text) {
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) {
    return number >= 1 && number <= SIGRTMAX ? number : 0;
  }
  std::string name;
  for (const char c : text) name += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (name.starts_with("SIG")) name.erase(0, 3);
  for (int signal = 1; signal < 32; ++signal) {
    const char* abbreviation = ::sigabbrev_np(signal);
    if (abbreviation != nullptr && name == abbreviation) return signal;
  }
  if (name.starts_with("RTMIN") || name.starts_with("RTMAX")) {
    const bool from_min = name[3] == 'I';
    int offset = 0;
    if (name.size() > 5) {
      if (name[5] != (from_min ? '+' : '-')) return 0;
      const auto parsed = std::from_chars(name.data() + 6, name.data() + name.size(), offset);
      if (parsed.ec != std::errc() || parsed.ptr != name.data() + name.size()) return 0;
    }
    const int signal = from_min ? SIGRTMIN + offset : SIGRTMAX - offset;
    return offset >= 0 && signal >= SIGRTMIN && signal <= SIGRTMAX ? signal : 0;
  }
  return 0;
}

std::string signal_name(int signal) {
  const char* abbreviation = ::sigabbrev_np(signal);
  return abbreviation != nullptr ? cat("SIG", abbreviation) : cat("SIG", signal);
}

}  // namespace base
