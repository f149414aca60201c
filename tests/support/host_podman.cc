#include "tests/support/host_podman.h"

#include <sys/resource.h>
#include <unistd.h>

#include <fstream>

namespace tests {
namespace {

bool is_cgroup_hybrid() {
  std::ifstream controllers("/sys/fs/cgroup/unified/cgroup.controllers");
  std::string first;
  return static_cast<bool>(controllers >> first);
}

std::string limit_option(const char* name, int resource) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0 ||
      limit.rlim_max == RLIM_INFINITY) {
    return std::string(name) + "=-1:-1";
  }
  const std::string hard = std::to_string(limit.rlim_max);
  return std::string(name) + "=" + hard + ":" + hard;
}

}  // namespace

std::vector<std::string> host_podman() {
  std::vector<std::string> command = {"podman"};
  for (const char* runc : {"/usr/bin/runc", "/usr/sbin/runc"}) {
    if (is_cgroup_hybrid() && ::access(runc, X_OK) == 0) {
      command.insert(command.end(), {"--runtime", runc, "--cgroup-manager", "cgroupfs"});
      break;
    }
  }
  return command;
}

std::vector<std::string> host_podman_run() {
  std::vector<std::string> command = host_podman();
  command.insert(command.end(), {"run", "--ulimit", limit_option("nofile", RLIMIT_NOFILE),
                                 "--ulimit", limit_option("nproc", RLIMIT_NPROC)});
  return command;
}

}  // namespace tests
