#include "tests/support/host_podman.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

namespace tests {
namespace {

bool is_cgroup_hybrid() {
  std::ifstream controllers("/sys/fs/cgroup/unified/cgroup.controllers");
  std::string first;
  return static_cast<bool>(controllers >> first);
}

// The hard limit of this process, at most `most`.
std::string limit_option(const char* name, int resource, rlim_t most) {
  rlimit limit{};
  if (::getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) {
    limit.rlim_max = most;
  }
  const std::string value = std::to_string(std::min(limit.rlim_max, most));
  return std::string(name) + "=" + value + ":" + value;
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

std::vector<std::string> host_podman_run_options() {
  return {"--ulimit", limit_option("nofile", RLIMIT_NOFILE, 1024), "--ulimit",
          limit_option("nproc", RLIMIT_NPROC, 1000)};
}

HostPodman::HostPodman(const std::string& image) {
  Command command;
  command.argv = argv({"pull", "--quiet", image});
  const Outcome outcome = tests::run(std::move(command));
  if (outcome.status != 0) {
    throw std::runtime_error("podman pull " + image + ": " + outcome.err);
  }
  image_id_ = outcome.out.substr(0, outcome.out.find('\n'));
}

std::vector<std::string> HostPodman::argv(const std::vector<std::string>& args) const {
  std::vector<std::string> argv = host_podman();
  // vfs: overlay leaves a mount behind on its storage.
  argv.insert(argv.end(),
              {"--root", storage_ / "root", "--runroot", storage_ / "run", "--tmpdir",
               storage_ / "tmp", "--storage-driver", "vfs", "--events-backend", "none"});
  argv.insert(argv.end(), args.begin(), args.end());
  return argv;
}

std::vector<std::string> HostPodman::run_argv(const std::vector<std::string>& flags,
                                              const std::vector<std::string>& command) const {
  std::vector<std::string> args = {"run", "--rm", "--network", "none"};
  for (const auto& more : {host_podman_run_options(), flags, {image_id_}, command}) {
    args.insert(args.end(), more.begin(), more.end());
  }
  return argv(args);
}

Outcome HostPodman::run(const std::vector<std::string>& flags,
                        const std::vector<std::string>& command,
                        std::optional<std::string> input) const {
  Command run;
  run.argv = run_argv(flags, command);
  run.input = std::move(input);
  return tests::run(std::move(run));
}

Outcome HostPodman::call(std::vector<std::string> args, std::optional<std::string> input) const {
  std::replace(args.begin(), args.end(), std::string("IMAGE"), image_id_);
  Command command;
  command.argv = argv(args);
  command.input = std::move(input);
  return tests::run(std::move(command));
}

}  // namespace tests
