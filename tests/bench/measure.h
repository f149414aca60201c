// The things measured. Each runs real VMs, and each compares with something measured beside it, in
// turns, so that a slow minute of the machine slows both.
#pragma once

#include <vector>

#include "tests/bench/report.h"

namespace bench {

// `fcvm podman run --rm IMAGE echo x` from its execve to the container's first byte, against the
// same started by hand (by_hand.h). One line a round, of the medians of `samples` pairs.
std::vector<Line> start_cost(int rounds, int samples);

// The same with the engine podman, whose baseline is the first `podman run` of a guest; and the start
// with crun against that with podman.
std::vector<Line> engine_cost(int samples);

// The image disk of the test image `postgres` (three layers, 170 MB) made by fcvm, against the same
// archive unpacked with tar and put on a disk with `mke2fs -d`, on the same file system. One line a
// round, of the medians of `samples` pairs.
std::vector<Line> disk_cost(int rounds, int samples);

// Size of the agent, private memory of an idle VM's monitor and agent, the VMM's own memory.
std::vector<Line> memory();

// `fcvm exec VM true` against `crun exec` timed inside the guest.
std::vector<Line> exec_latency(int samples);

// 64 MiB through the stdin and stdout of `cat`, against the host's podman where there is one.
std::vector<Line> pipe_throughput();

}  // namespace bench
