#include "base/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iterator>
#include <mutex>
#include <vector>

#include "base/error.h"

namespace base {

struct EventLoop::Posted {
  Fd wake;
  std::mutex mutex;
  std::deque<Callback> queue;  // guarded by mutex
};

namespace {
constexpr std::uint64_t kWakeId = 0;
}

EventLoop::Registration::Registration(Registration&& other) noexcept
    : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}

EventLoop::Registration& EventLoop::Registration::operator=(Registration&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
  }
  return *this;
}

void EventLoop::Registration::reset() {
  if (loop_ != nullptr) std::exchange(loop_, nullptr)->remove(id_);
}

EventLoop::EventLoop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), posted_(new Posted) {
  if (!epoll_) throw_errno("creating epoll instance");
  posted_->wake = make_event_fd(0, EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, posted_->wake.get(), &event) != 0) {
    throw_errno("watching wake-up descriptor");
  }
}

EventLoop::~EventLoop() = default;

EventLoop::Registration EventLoop::watch(int fd, std::uint32_t events, FdCallback callback) {
  const std::uint64_t id = next_id_++;
  Watch watch{fd, events, false, std::make_shared<FdCallback>(std::move(callback))};
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    if (errno != EPERM) throw_errno("watching descriptor", std::to_string(fd));
    watch.always_ready = true;
    if (events != 0) ++always_ready_;
  }
  watches_.emplace(id, std::move(watch));
  return {this, id};
}

void EventLoop::set_events(const Registration& registration, std::uint32_t events) {
  if (!registration.active()) return;
  Watch& watch = watches_.at(registration.id_);
  if (watch.events == events) return;
  if (watch.always_ready) {
    always_ready_ += (events != 0) - (watch.events != 0);
  } else {
    epoll_event event{};
    event.events = events;
    event.data.u64 = registration.id_;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watch.fd, &event) != 0) {
      throw_errno("changing watch of descriptor", std::to_string(watch.fd));
    }
  }
  watch.events = events;
}

EventLoop::Registration EventLoop::at(Clock::time_point when, Callback callback) {
  const std::uint64_t id = next_id_++;
  timers_.emplace(id, Timer{when, std::make_shared<Callback>(std::move(callback))});
  return {this, id};
}

EventLoop::Registration EventLoop::after(Clock::duration delay, Callback callback) {
  const auto now = Clock::now();
  // A delay that is longer than the clock can tell never ends.
  const bool endless = delay > Clock::time_point::max() - now;
  return at(endless ? Clock::time_point::max() : now + delay, std::move(callback));
}

void EventLoop::post(Callback callback) {
  {
    const std::lock_guard lock(posted_->mutex);
    posted_->queue.push_back(std::move(callback));
  }
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = ::write(posted_->wake.get(), &one, sizeof one);
}

void EventLoop::remove(std::uint64_t id) {
  if (timers_.erase(id) != 0) return;
  const auto it = watches_.find(id);
  if (it == watches_.end()) return;
  if (it->second.always_ready) {
    if (it->second.events != 0) --always_ready_;
  } else {
    // The descriptor may be closed already; then the kernel has dropped it from the set.
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, it->second.fd, nullptr);
  }
  watches_.erase(it);
}

int EventLoop::timeout_ms(std::chrono::milliseconds limit) const {
  if (always_ready_ != 0) return 0;
  auto wait = limit.count() < 0 ? Clock::duration::max() : Clock::duration(limit);
  const auto now = Clock::now();
  for (const auto& [id, timer] : timers_) {
    wait = std::min(wait, std::max(Clock::duration::zero(), timer.when - now));
  }
  if (wait == Clock::duration::max()) return -1;
  // Rounded up, so a timer never finds that it woke a fraction too early and spins.
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  return static_cast<int>(std::min<std::int64_t>(ms, 1 << 30));
}

void EventLoop::run_timers() {
  const auto now = Clock::now();
  std::vector<std::pair<Clock::time_point, std::uint64_t>> due;
  for (const auto& [id, timer] : timers_) {
    if (timer.when <= now) due.emplace_back(timer.when, id);
  }
  std::sort(due.begin(), due.end());
  for (const auto& [when, id] : due) {
    const auto it = timers_.find(id);
    if (it == timers_.end()) continue;  // removed by an earlier callback
    const auto callback = it->second.callback;
    timers_.erase(it);
    (*callback)();
  }
}

void EventLoop::run_posted() {
  std::deque<Callback> batch;
  {
    const std::lock_guard lock(posted_->mutex);
    batch.swap(posted_->queue);
  }
  while (!batch.empty()) {
    const Callback callback = std::move(batch.front());
    batch.pop_front();
    try {
      callback();
    } catch (...) {
      // The others were promised their turn.
      {
        const std::lock_guard lock(posted_->mutex);
        posted_->queue.insert(posted_->queue.begin(), std::make_move_iterator(batch.begin()),
                              std::make_move_iterator(batch.end()));
      }
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t n = ::write(posted_->wake.get(), &one, sizeof one);
      throw;
    }
  }
}

void EventLoop::run_once(std::chrono::milliseconds limit) {
  std::array<epoll_event, 64> events;
  const int n =
      ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout_ms(limit));
  if (n < 0 && errno != EINTR) throw_errno("waiting for events");
  for (int i = 0; i < n; ++i) {
    // Copies: epoll_event is packed, so a reference into it may be misaligned.
    const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
    const std::uint32_t ready_events = events[static_cast<std::size_t>(i)].events;
    if (id == kWakeId) {
      std::uint64_t count = 0;
      [[maybe_unused]] const ssize_t r = ::read(posted_->wake.get(), &count, sizeof count);
      continue;
    }
    // Looked up by id each time: an earlier callback of this round may have removed it.
    const auto it = watches_.find(id);
    if (it == watches_.end()) continue;
    const auto callback = it->second.callback;
    (*callback)(ready_events);
  }
  if (always_ready_ != 0) {
    std::vector<std::uint64_t> ready;
    for (const auto& [id, watch] : watches_) {
      if (watch.always_ready && watch.events != 0) ready.push_back(id);
    }
    for (const std::uint64_t id : ready) {
      const auto it = watches_.find(id);
      if (it == watches_.end() || it->second.events == 0) continue;
      const auto callback = it->second.callback;
      (*callback)(it->second.events & (EPOLLIN | EPOLLOUT));
    }
  }
  run_timers();
  run_posted();
}

void EventLoop::run() {
  stopping_ = false;
  while (!stopping_) run_once(std::chrono::milliseconds(-1));
}

bool EventLoop::run_until(const std::function<bool()>& done, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!done()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    run_once(left);
  }
  return true;
}

}  // namespace base
