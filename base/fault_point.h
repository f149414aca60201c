// Named places where a test makes the program stop, fail or take its time, as a full disk, a crash or
// a slow machine would. Nothing at all in a build without the CMake option FCVM_FAULT_POINTS, which
// is how releases are built.
//
// FCVM_FAULT="NAME=ACTION" in the environment; several with commas. ACTION is
//   kill       SIGKILL to this process
//   stop       SIGSTOP to this process, once: the test acts meanwhile, then sends SIGCONT
//   ENOSPC     base::Error, as a full disk gives; EIO likewise
//   delay:MS   that many milliseconds
// All but stop happen at each pass.
#pragma once

#include "base/fault_points_built.h"

#ifdef FCVM_FAULT_POINTS

#include <string_view>

namespace base {
// Throws base::Error where the environment says so. Which names there are, and what has to hold at
// each, is in tests/e2e/kill_matrix_test.cc and tests/e2e/interrupted_test.cc.
void fault_point(std::string_view name);
}  // namespace base

#else

namespace base {
inline void fault_point(const char*) {}
}  // namespace base

#endif
