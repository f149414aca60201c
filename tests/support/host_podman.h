// The host's podman, for tests that compare fcvm with it.
#pragma once

#include <string>
#include <vector>

namespace tests {

// The beginning of a podman command line that works on this machine: "podman" and its global
// options. crun refuses a machine whose cgroup hierarchy is hybrid; there runc is used, when
// installed.
std::vector<std::string> host_podman();

// The same for `podman run`, with options that keep the container within this process's own
// resource limits: podman's defaults exceed them where root has no CAP_SYS_RESOURCE.
std::vector<std::string> host_podman_run();

}  // namespace tests
