#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace image {

enum class ProgressUnit { kNone, kBytes, kItems };

// One report of a long job. Stages come one after another; a report with a new `stage` ends the one
// before it.
struct Progress {
  std::string stage;        // "unpacking image", fit for a progress line
  std::uint64_t done = 0;   // in `unit`
  std::uint64_t total = 0;  // 0: not known
  ProgressUnit unit = ProgressUnit::kNone;
};

// Called from the thread that does the job, a few times a second at most. May be empty.
using ProgressCallback = std::function<void(const Progress&)>;

inline void report(const ProgressCallback& callback, std::string stage, std::uint64_t done = 0,
                   std::uint64_t total = 0, ProgressUnit unit = ProgressUnit::kNone) {
  if (callback) callback(Progress{std::move(stage), done, total, unit});
}

}  // namespace image
