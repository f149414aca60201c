#pragma once

#include <string>

#include "wire/control.h"

namespace fc_agent {

// Fills the kStats fields of `reply`; what cannot be read stays 0. `cgroup` is the container's.
void collect_stats(const std::string& cgroup, wire::ControlReply& reply);

}  // namespace fc_agent
