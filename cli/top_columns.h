// The format descriptors of `top`, podman's where it has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "wire/process_list.h"

namespace cli {

// A table of the processes. `descriptors` may each be several, with commas; none are podman's
// defaults. Throws base::Error naming one that is unknown.
std::string top_table(const wire::ProcessList& list, const std::vector<std::string>& descriptors);

// Throws as top_table() does.
void check_descriptors(const std::vector<std::string>& descriptors);

// "args, comm, …"
std::string_view descriptor_names();

// A time as Go writes it: "1h2m3.5s", "0s", "31.68ms".
std::string go_duration(std::uint64_t microseconds);

}  // namespace cli
