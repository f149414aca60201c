#include "fc-agent/reaper.h"

#include <sys/wait.h>

#include <csignal>
#include <utility>

namespace fc_agent {

void Reaper::Hold::release() {
  Reaper* const reaper = std::exchange(reaper_, nullptr);
  if (reaper != nullptr && --reaper->holds_ == 0) reaper->kept_.clear();
}

Reaper::Reaper(base::EventLoop& loop)
    : loop_(loop), signals_(loop, {SIGCHLD}, [this](int) { reap(); }) {}

void Reaper::watch(pid_t pid, Callback callback) {
  watched_[pid] = std::move(callback);
  if (const auto kept = kept_.extract(pid); !kept.empty()) {
    // From the loop, as in the other case: callers need not expect it inside watch().
    loop_.post([this, pid, status = kept.mapped()] {
      auto watched = watched_.extract(pid);
      if (!watched.empty()) watched.mapped()(status);
    });
  }
}

void Reaper::unwatch(pid_t pid) {
  watched_.erase(pid);
}

void Reaper::reap() {
  // One SIGCHLD may stand for many.
  while (true) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid <= 0) return;
    const base::ExitStatus exit = base::exit_status_from_wait(status);
    auto watched = watched_.extract(pid);
    if (!watched.empty()) {
      watched.mapped()(exit);
    } else if (holds_ > 0) {
      kept_[pid] = exit;
    }
  }
}

}  // namespace fc_agent
