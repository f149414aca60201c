#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>

#include "base/event_loop.h"
#include "base/process.h"
#include "base/signals.h"

namespace fc_agent {

// Reaps every child of this process: those it started and, as PID 1 (or a subreaper), the orphans it
// was given. Blocks SIGCHLD for the calling thread; make it before other threads start. Until a pid
// was reaped here no other process can have it, so signalling a watched pid is safe.
class Reaper {
 public:
  using Callback = std::function<void(base::ExitStatus)>;

  // While one of these lives, the status of every unwatched child is kept, one a pid:
  // a runtime that starts a process for us tells its pid only later, maybe after it has ended.
  class Hold {
   public:
    Hold() = default;
    explicit Hold(Reaper& reaper) : reaper_(&reaper) { ++reaper.holds_; }
    Hold(Hold&& other) noexcept : reaper_(std::exchange(other.reaper_, nullptr)) {}
    Hold& operator=(Hold&& other) noexcept {
      if (this != &other) {
        release();
        reaper_ = std::exchange(other.reaper_, nullptr);
      }
      return *this;
    }
    ~Hold() { release(); }
    void release();

   private:
    Reaper* reaper_ = nullptr;
  };

  explicit Reaper(base::EventLoop& loop);
  Reaper(const Reaper&) = delete;
  Reaper& operator=(const Reaper&) = delete;

  // Calls back once, from the loop, when `pid` has ended; at the next turn if it has ended already
  // under a Hold. The pid must be a child of ours or about to be given to us.
  void watch(pid_t pid, Callback callback);
  void unwatch(pid_t pid);
  bool watching(pid_t pid) const { return watched_.contains(pid); }

 private:
  void reap();

  base::EventLoop& loop_;
  std::map<pid_t, Callback> watched_;
  std::map<pid_t, base::ExitStatus> kept_;
  int holds_ = 0;
  base::SignalWatch signals_;
};

}  // namespace fc_agent
