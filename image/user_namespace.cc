#include "image/user_namespace.h"

#include <unistd.h>

#include <csignal>

#include "base/files.h"
#include "base/log.h"
#include "base/process.h"

namespace image {
namespace {

struct Namespace {
  std::vector<std::string> prefix;
  bool single_id = false;
};

bool works(std::vector<std::string> argv) {
  base::SpawnOptions spawn;
  spawn.argv = std::move(argv);
  spawn.argv.emplace_back("true");
  return base::run_command(std::move(spawn)).status.success();
}

Namespace find_namespace() {
  // A mount namespace too: container storage probes what it may mount.
  const std::vector<std::string> all{"unshare", "--map-root-user", "--map-auto", "--mount", "--"};
  if (works(all)) return {all, false};
  base::log_warn(
      "this user has no range of ids in /etc/subuid (or newuidmap is missing): files of images "
      "lose their owners and belong to root in the container");
  return {{"unshare", "--map-root-user", "--mount", "--"}, true};
}

const Namespace& user_namespace() {
  static const Namespace none;
  if (::geteuid() == 0) return none;
  static const Namespace found = find_namespace();
  return found;
}

}  // namespace

const std::vector<std::string>& user_namespace_prefix() {
  return user_namespace().prefix;
}

bool user_namespace_is_single_id() {
  return user_namespace().single_id;
}

void remove_in_user_namespace(const std::vector<std::string>& paths) {
  if (paths.empty()) return;
  if (::geteuid() == 0) {
    for (const std::string& path : paths) base::remove_tree(path);
    return;
  }
  base::SpawnOptions spawn;
  spawn.argv = user_namespace_prefix();
  spawn.argv.insert(spawn.argv.end(), {"rm", "-rf", "--"});
  spawn.argv.insert(spawn.argv.end(), paths.begin(), paths.end());
  spawn.parent_death_signal = SIGKILL;
  base::run_command_checked(std::move(spawn));
}

}  // namespace image
