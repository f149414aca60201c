#pragma once

#include <sys/epoll.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "base/fd.h"

namespace base {

// One thread's epoll loop. Everything but post() belongs to the thread that calls run().
// Callbacks run on that thread, one at a time; one that throws ends run() with the exception.
// Watches and timers may be removed in any callback, their own included.
class EventLoop {
 public:
  using FdCallback = std::function<void(std::uint32_t events)>;
  using Callback = std::function<void()>;
  using Clock = std::chrono::steady_clock;

  // Ends the registration when destroyed. Must not outlive the loop.
  class Registration {
   public:
    Registration() = default;
    Registration(Registration&& other) noexcept;
    Registration& operator=(Registration&& other) noexcept;
    ~Registration() { reset(); }
    void reset();
    bool active() const { return loop_ != nullptr; }

   private:
    friend class EventLoop;
    Registration(EventLoop* loop, std::uint64_t id) : loop_(loop), id_(id) {}
    EventLoop* loop_ = nullptr;
    std::uint64_t id_ = 0;
  };

  EventLoop();
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Watches `fd` (level triggered) for EPOLLIN and the like; the fd stays the caller's and must
  // outlive the registration. A descriptor can be watched once. Files that epoll refuses (EPERM:
  // regular files) are treated as always ready.
  [[nodiscard]] Registration watch(int fd, std::uint32_t events, FdCallback callback);
  // Changes what an active watch waits for; 0 pauses it (errors and hang-ups still arrive for
  // descriptors that epoll knows).
  void set_events(const Registration& watch, std::uint32_t events);

  [[nodiscard]] Registration at(Clock::time_point when, Callback callback);
  [[nodiscard]] Registration after(Clock::duration delay, Callback callback);

  // Runs `callback` on the loop's thread after the callbacks now under way. Any thread.
  void post(Callback callback);

  // Runs until stop().
  void run();
  // One round: waits at most `limit` for something to do and does it.
  void run_once(std::chrono::milliseconds limit);
  // Runs until `done()` holds or the time is over; true when it holds.
  bool run_until(const std::function<bool()>& done, std::chrono::milliseconds limit);
  void stop() { stopping_ = true; }

 private:
  struct Watch {
    int fd = -1;
    std::uint32_t events = 0;
    bool always_ready = false;
    std::shared_ptr<FdCallback> callback;
  };
  struct Timer {
    Clock::time_point when;
    std::shared_ptr<Callback> callback;
  };

  void remove(std::uint64_t id);
  void run_timers();
  void run_posted();
  int timeout_ms(std::chrono::milliseconds limit) const;

  struct Posted;
  Fd epoll_;
  std::uint64_t next_id_ = 1;
  std::unordered_map<std::uint64_t, Watch> watches_;
  std::size_t always_ready_ = 0;  // active watches with always_ready and events != 0
  std::map<std::uint64_t, Timer> timers_;
  std::unique_ptr<Posted> posted_;
  bool stopping_ = false;
};

}  // namespace base
