// Linux capabilities by name, merged as podman merges them.
#pragma once

#include <string>
#include <vector>

namespace vm {

// CAP_LAST_CAP of the kernels fcvm knows: CAP_CHECKPOINT_RESTORE (linux/capability.h).
inline constexpr int kLastKnownCapability = 40;

// "CAP_…" of every capability up to `last` (an out-of-range `last` is clamped), sorted by name.
std::vector<std::string> all_capabilities(int last = kLastKnownCapability);

// What a container has when nothing is said: the default of Debian's containers.conf(5).
const std::vector<std::string>& default_capabilities();

// `base` with `add` and without `drop`, sorted, limited to `bounding`. Names in any case, with or
// without CAP_; "all" stands for every one. Throws base::Error for an unknown name, for one both
// added and dropped, and for all added and all dropped.
std::vector<std::string> merge_capabilities(const std::vector<std::string>& base,
                                            const std::vector<std::string>& add,
                                            const std::vector<std::string>& drop,
                                            const std::vector<std::string>& bounding);

}  // namespace vm
