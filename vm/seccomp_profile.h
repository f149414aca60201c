// The default seccomp filter of containers: the profile of containers-common, resolved for one
// container's capabilities as podman does and compiled as crun does, but on the host.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace vm {

// seccomp.json(5): 1 MiB is eighty times the packaged one.
inline constexpr std::size_t kMaxSeccompProfileBytes = 1 << 20;

// `linux.seccomp` of the OCI runtime specification: of the profile's rules those that apply to a
// container with these capabilities in its bounding set, on this architecture (Go's name). Throws
// base::Error for a profile that is malformed or holds a condition this does not know, since a rule
// taken or left wrongly is a hole.
nlohmann::json resolve_seccomp_profile(std::string_view profile, std::string_view architecture,
                                       const std::vector<std::string>& bounding);

// The classic BPF program (struct sock_filter[], linux/filter.h) for a resolved profile: the same
// one that crun makes of it. System calls the host's libseccomp does not know are left out, as crun
// does; they meet the default action. Throws base::Error.
std::string compile_seccomp_filter(const nlohmann::json& seccomp);

// compile_seccomp_filter, remembered in files of `cache_directory` (made when missing) by the digest
// of what was compiled: libseccomp takes tens of milliseconds. A file that is damaged or cannot be
// written does no harm. Throws base::Error as compile_seccomp_filter does.
std::string cached_seccomp_filter(const nlohmann::json& seccomp,
                                  const std::string& cache_directory);

}  // namespace vm
