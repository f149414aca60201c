#include "vm/monitor/guest_milestones.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"

namespace vm {
namespace {

constexpr std::size_t kMaxSteps = 64;
constexpr std::size_t kMaxNameBytes = 48;
// A day: no boot takes longer, and no sum of two of them overflows.
constexpr std::int64_t kMaxGuestUs = 86'400'000'000;

}  // namespace

void GuestMilestones::add(const std::string& step, std::int64_t guest_us, std::int64_t arrived_us) {
  const bool plain = std::all_of(step.begin(), step.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == ' ' || c == '-' || c == '_';
  });
  if (!plain || step.size() > kMaxNameBytes || steps_.size() == kMaxSteps) return;
  guest_us = std::clamp<std::int64_t>(guest_us, 0, kMaxGuestUs);
  offset_us_ = std::min(offset_us_, arrived_us - guest_us);
  steps_[step] = {guest_us, arrived_us};
}

void GuestMilestones::write(std::map<std::string, std::int64_t>& timings) const {
  for (const auto& [step, dates] : steps_) {
    timings[base::cat("guest:", step)] = std::clamp(
        dates.guest_us + offset_us_, std::min(started_us_, dates.arrived_us), dates.arrived_us);
  }
}

}  // namespace vm
