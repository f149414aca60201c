#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace vm {

// The guest's own milestones of its boot, as it dates them by its clock, set against the host's. A
// message is late and the clocks start apart, so the quickest message seen says what a date means.
// Everything here comes from the guest: few, short and plain names are taken, and no date is later
// than its message or earlier than the guest's start.
class GuestMilestones {
 public:
  // `started_us`: when the VMM was started; all host times have one origin, in microseconds.
  explicit GuestMilestones(std::int64_t started_us) : started_us_(started_us) {}

  void add(const std::string& step, std::int64_t guest_us, std::int64_t arrived_us);
  // Writes them to `timings` as "guest:<step>".
  void write(std::map<std::string, std::int64_t>& timings) const;

 private:
  struct Dates {
    std::int64_t guest_us = 0;
    std::int64_t arrived_us = 0;
  };

  std::int64_t started_us_;
  std::int64_t offset_us_ = INT64_MAX;
  std::map<std::string, Dates> steps_;
};

}  // namespace vm
