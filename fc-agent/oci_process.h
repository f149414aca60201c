#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fc_agent {

// What a process in the guest itself needs of an OCI process object (runtime specification,
// config.md, "process"). Limits, capabilities and the like are for containers.
struct OciProcess {
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::string cwd = "/";
  bool terminal = false;
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> additional_gids;
};
// Throws base::Error.
OciProcess parse_oci_process(std::string_view json);

// The same process object (or with `in_config` the configuration that has one as "process") with
// process.terminal and, for rows > 0, process.consoleSize set: the runtime gives the terminal its
// size before the process can ask for it. Throws base::Error.
std::string with_terminal(std::string_view json, bool in_config, bool terminal, std::uint16_t rows,
                          std::uint16_t columns);

// The file that `name` is for a process with this environment: PATH is searched unless it has a '/'.
// `name` itself when there is none, for exec to fail on. EACCES beats ENOENT as in execvp(3).
std::string find_executable(const std::string& name, const std::vector<std::string>& env);

}  // namespace fc_agent
