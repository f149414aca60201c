#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/error.h"
#include "base/process.h"
#include "image/user_namespace.h"
#include "vm/doctor/checks.h"

namespace vm {
namespace {

constexpr char kCostOfNoImages[] = "no image can be made ready; those that are still run";

Check required_program(const std::string& name, const std::string& version_flag,
                       const std::string& package) {
  const Program program = look_for_program(name, version_flag);
  if (!program.path.empty()) return ok(name, program.found);
  return prevented(name, program.found, kCostOfNoImages, "apt-get install " + package);
}

Check podman_check() {
  const Program program = look_for_program("podman", "--version");
  if (!program.path.empty()) return ok("podman", program.found);
  return missing("podman", program.found,
                 "nothing but images of Podman's own store (containers-storage:)",
                 "apt-get install podman");
}

// Unpacking an image as an ordinary user takes a user namespace.
Check user_ids_check() {
  const char name[] = "user ids";
  if (::geteuid() == 0) return ok(name, "root has all of them");
  try {
    base::SpawnOptions spawn;
    spawn.argv = image::user_namespace_prefix();
    spawn.argv.emplace_back("true");
    spawn.parent_death_signal = SIGKILL;
    base::run_command_checked(std::move(spawn));
  } catch (const base::Error& error) {
    return prevented(name, base::cat("no user namespace: ", error.what()), kCostOfNoImages,
                     error.errnum() == ENOENT ? "apt-get install util-linux"
                                              : "sysctl user.max_user_namespaces=10000 as root");
  }
  if (image::user_namespace_is_single_id()) {
    return degraded(name, "no range in /etc/subuid, or no newuidmap",
                    "files of images lose their owners and belong to root",
                    "apt-get install uidmap; usermod --add-subuids 100000-165535 "
                    "--add-subgids 100000-165535 USER");
  }
  return ok(name, "a range of this user's, by newuidmap");
}

}  // namespace

std::vector<Check> image_checks() {
  return {required_program("skopeo", "--version", "skopeo"),
          required_program("mke2fs", "-V", "e2fsprogs"), podman_check(), user_ids_check()};
}

}  // namespace vm
