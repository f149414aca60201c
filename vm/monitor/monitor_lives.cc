// Why a VM is started again when it has ended, and how one life follows another.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "vm/monitor/monitor.h"

namespace vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// As docker: from 100 ms doubling to a minute, from the beginning after a life of ten seconds.
constexpr milliseconds kFirstDelay{100};
constexpr milliseconds kLongestDelay{60'000};
constexpr seconds kLongLife{10};

std::string failure(const std::string& why) {
  MonitorReply reply;
  reply.ok = false;
  reply.error = why;
  return to_json(reply);
}

}  // namespace

void Monitor::restart(const MonitorRequest& request, const Reply& reply) {
  if (finished_ || !options_.next_life) {
    reply(failure("it has ended"));
    return;
  }
  restart_wanted_ = true;
  stop_wanted_ = false;
  restarting_.push_back(reply);
  stop(request);
}

void Monitor::rename(const MonitorRequest& request, const Reply& reply) {
  if (finished_) {
    reply(failure("it has ended"));
    return;
  }
  try {
    VmRecord renamed = record_;
    renamed.name = request.name;
    store_.update(*record_lock_, renamed);
    record_ = std::move(renamed);
    reply(to_json(MonitorReply{}));
  } catch (const base::Error& error) {
    reply(failure(error.what()));
  }
}

// A container that never ran is not started again, unless it did run in an earlier life.
bool Monitor::lives_again() const {
  if (!options_.next_life) return false;
  if (restart_wanted_) return true;
  if (stop_wanted_ || (!ran_ && record_.restart_count == 0)) return false;
  if (record_.restart_policy == "always" || record_.restart_policy == "unless-stopped") return true;
  return record_.restart_policy == "on-failure" && record_.exit_code.value_or(0) != 0 &&
         (record_.restart_max == 0 || record_.restart_count < record_.restart_max);
}

// A stop while the next start is being waited for: the end is that of the life before.
void Monitor::end_delay() {
  launch_timer_.reset();
  container_over_ = true;
  if (last_exit_code_) record_.exit_code = last_exit_code_;
  io_->end_output();
  loop_.post([this] { finish(); });
}

void Monitor::answer_restarted(const std::string& error) {
  for (const auto& reply : std::exchange(restarted_, {})) {
    reply(error.empty() ? to_json(MonitorReply{}) : failure(error));
  }
}

void Monitor::hand_over() {
  handed_over_ = true;
  record_.status = VmStatus::kStarting;
  milliseconds delay{0};
  if (!restart_wanted_) {
    ++record_.restart_count;
    const bool long_life = base::EventLoop::Clock::now() - began_ >= kLongLife;
    delay = long_life || delay_.count() == 0 ? kFirstDelay : std::min(delay_ * 2, kLongestDelay);
    base::log_info(base::cat("restarting after ", delay.count(), " ms, exit code ",
                             record_.exit_code.value_or(0)));
  }
  save();
  auto handover = std::make_shared<Handover>(
      Handover{std::move(*record_lock_), std::move(listener_), delay, std::move(restarting_)});
  record_lock_.reset();
  // Its clients are told first; the next life begins when nothing of this one is under way.
  tell_the_end();
  loop_.post([next = options_.next_life, handover] { next(std::move(*handover)); });
}

}  // namespace vm
