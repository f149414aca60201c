// The baseline of the start cost: what a start costs with nothing of ours between the parts.
#pragma once

#include <chrono>

#include "vm/launch_plan.h"

namespace bench {

struct ByHand {
  std::chrono::microseconds boot;  // QEMU's start to the agent's first line on the console
  // The engine's start to the container's first byte, by the guest's clock.
  std::chrono::microseconds engine;
};

// Starts QEMU with the command line a monitor would use for `plan`, waits for the line, has the plan
// applied, and starts its container from a shell in the guest, once, as the first of that guest: by
// `crun run`, or by the `podman run` somebody would type. The image must have a busybox at /bin/busybox and the command must print. The root
// disk of `plan` is used up. Throws base::Error.
ByHand start_by_hand(vm::LaunchPlan plan);

}  // namespace bench
