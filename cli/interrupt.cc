#include "cli/interrupt.h"

#include <array>
#include <atomic>

namespace cli {
namespace {

constexpr std::array kSignals{SIGINT, SIGTERM, SIGHUP};
std::atomic<base::Cancellation*> g_cancellation{nullptr};
std::atomic<int> g_signal{0};

void on_signal(int signal) {
  // SAFETY: lock-free atomics and Cancellation::cancel() are async-signal-safe.
  g_signal = signal;
  if (base::Cancellation* cancellation = g_cancellation.load()) cancellation->cancel();
}

}  // namespace

InterruptGuard::InterruptGuard() {
  g_signal = 0;
  g_cancellation = &cancellation_;
  struct sigaction action {};
  action.sa_handler = on_signal;
  // No SA_RESTART: a wait that looks at the cancellation wakes up at once.
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &old_[i]);
}

InterruptGuard::~InterruptGuard() {
  for (std::size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &old_[i], nullptr);
  g_cancellation = nullptr;
}

int InterruptGuard::signal() {
  return g_signal;
}

}  // namespace cli
