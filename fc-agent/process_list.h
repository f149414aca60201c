#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <string_view>

#include "wire/process_list.h"
#include "wire/tree.h"

namespace fc_agent {

// The processes in the pid namespace of `init`, by their pids in it. `proc` is "/proc"; names of users
// and groups are those of /etc/passwd and /etc/group in `root`. What ends meanwhile is left out.
// Throws base::Error when `init` is gone.
wire::ProcessList list_processes(const std::string& proc, pid_t init, const wire::TreeRoot& root);

// "name:password:number:…" lines; the first name of a number counts.
std::map<std::string, std::string> parse_names(std::string_view text);

}  // namespace fc_agent
