#pragma once

#include <cstdint>

namespace vm {

// Nanoseconds: CLOCK_REALTIME since the epoch, and CLOCK_MONOTONIC, which the processes of one VM
// share, so milestones of one can be set against another's.
std::int64_t wall_clock_ns();
std::int64_t monotonic_ns();

}  // namespace vm
