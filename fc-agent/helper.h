#pragma once

#include <string_view>

namespace fc_agent {

// The helper's number for the container's root, opened with O_PATH.
inline constexpr int kHelperRootFd = 3;

// The program of a helper (wire/helper.h): `request` is its JSON, `init` the pid of the container's
// first process. Returns the exit status.
int run_helper(std::string_view request, std::string_view init) noexcept;

}  // namespace fc_agent
