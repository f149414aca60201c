#pragma once

#include <chrono>
#include <string>

#include "image/progress.h"

namespace cli {

// Shows a long job on stderr: a bar that redraws itself on a terminal, a line for each stage
// otherwise. A job that is over before `quiet` leaves no trace.
class ProgressDisplay {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ProgressDisplay(Clock::duration quiet = std::chrono::seconds(1));
  // For tests: where to write, whether that is a terminal, how wide it is.
  ProgressDisplay(Clock::duration quiet, int fd, bool terminal, unsigned columns);
  ~ProgressDisplay() { finish(); }
  ProgressDisplay(const ProgressDisplay&) = delete;
  ProgressDisplay& operator=(const ProgressDisplay&) = delete;

  image::ProgressCallback callback();
  void show(const image::Progress& progress);
  // Removes the bar, so that other output begins on a line of its own.
  void finish() noexcept;

 private:
  void write(const std::string& text) const noexcept;

  Clock::time_point begin_ = Clock::now();
  Clock::duration quiet_;
  int fd_;
  bool terminal_;
  unsigned columns_;
  bool drawn_ = false;
  std::string stage_;
};

// "unpacking image  [#####-----]  50%  1.0/2.0 MiB", at most `columns` wide.
std::string progress_line(const image::Progress& progress, unsigned columns);

}  // namespace cli
