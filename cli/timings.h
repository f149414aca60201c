#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace cli {

// --timings: when the milestones of a start were reached, counted from the command's beginning.
class Timings {
 public:
  // CLOCK_MONOTONIC nanoseconds.
  explicit Timings(std::int64_t start_ns) : start_ns_(start_ns) {}

  void note(const std::string& name);
  // Microseconds from the start, as the monitor counts them.
  void add(const std::map<std::string, std::int64_t>& milestones_us);

  // In the order of time: name, when, and how long after the one before.
  std::string table() const;

 private:
  struct Milestone {
    std::string name;
    std::int64_t at_us;
  };
  std::int64_t start_ns_;
  std::vector<Milestone> milestones_;
};

}  // namespace cli
