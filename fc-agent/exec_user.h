#pragma once

#include <string>
#include <string_view>

namespace fc_agent {

// The process object of a further process in a container, completed: `resolve_user` (wire/process.h)
// becomes `user`, `capabilities` and HOME by what the container's passwd and group say now. `root` is
// where its root file system is mounted. An object without `resolve_user` stays as it is. Throws
// base::Error.
std::string with_user(std::string_view process_json, const std::string& root);

}  // namespace fc_agent
