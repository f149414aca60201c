#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>

#include "base/error.h"
#include "base/signals.h"
#include "vm/detail/terminal.h"

namespace vm::detail {
namespace {

constexpr std::array kDeadlySignals{SIGABRT, SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
                                    SIGTRAP, SIGSYS,  SIGXCPU, SIGXFSZ, SIGALRM};

// What the handler needs: written before it is installed, read in it.
termios g_saved;
std::atomic<int> g_fd{-1};
std::array<struct sigaction, kDeadlySignals.size()> g_old_actions;

void restore_and_die(int signal) {
  // SAFETY: tcsetattr and raise are async-signal-safe (signal-safety(7)); SA_RESETHAND has put the
  // default action back.
  const int fd = g_fd.load();
  if (fd >= 0) ::tcsetattr(fd, TCSANOW, &g_saved);
  ::raise(signal);
}

}  // namespace

WindowSize window_size(int fd) {
  winsize size{};
  // SAFETY: TIOCGWINSZ fills a winsize (ioctl_tty(2)).
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0) return {};
  return {size.ws_row, size.ws_col};
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  if (::tcgetattr(fd_, &saved_) != 0) base::throw_errno("reading terminal modes");
  raw_ = saved_;
  ::cfmakeraw(&raw_);
  g_saved = saved_;
  g_fd = fd_;
  struct sigaction action {};
  action.sa_handler = restore_and_die;
  action.sa_flags = static_cast<int>(SA_RESETHAND | SA_NODEFER);
  for (std::size_t i = 0; i < kDeadlySignals.size(); ++i) {
    ::sigaction(kDeadlySignals[i], &action, &g_old_actions[i]);
  }
  reapply();
}

RawTerminal::~RawTerminal() {
  // In the background the kernel would stop us for it (SIGTTOU), and nobody restored anything.
  const base::SignalMask no_stop({SIGTTOU});
  ::tcsetattr(fd_, TCSADRAIN, &saved_);
  g_fd = -1;
  for (std::size_t i = 0; i < kDeadlySignals.size(); ++i) {
    ::sigaction(kDeadlySignals[i], &g_old_actions[i], nullptr);
  }
}

void RawTerminal::reapply() {
  ::tcsetattr(fd_, TCSADRAIN, &raw_);
}

bool DetachMatcher::feed(std::string_view typed, std::string& out) {
  if (keys_.empty()) {
    out += typed;
    return false;
  }
  for (const char c : typed) {
    // The longest beginning of the sequence that what was typed now ends with.
    while (matched_ > 0 && keys_[matched_] != c) {
      const std::size_t before = matched_;
      std::size_t shorter = matched_ - 1;
      while (shorter > 0 && keys_.compare(0, shorter, keys_, before - shorter, shorter) != 0) {
        --shorter;
      }
      out.append(keys_, 0, before - shorter);
      matched_ = shorter;
    }
    if (keys_[matched_] != c) {
      out += c;
    } else if (++matched_ == keys_.size()) {
      return true;
    }
  }
  return false;
}

}  // namespace vm::detail
