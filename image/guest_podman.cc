#include "image/guest_podman.h"

#include "base/error.h"
#include "base/files.h"

namespace image {
namespace {

// The options of mount(2) are overlay's defaults: what a distribution adds (metacopy) keeps Podman
// from comparing layers itself.
std::string storage_conf() {
  return base::cat(
      "[storage]\n"
      "driver = \"overlay\"\n"
      "graphroot = \"/var/lib/containers/storage\"\n"
      "runroot = \"/run/containers/storage\"\n"
      "\n"
      "[storage.options]\n"
      "additionalimagestores = [\"",
      kGuestImageStore,
      "\"]\n"
      "\n"
      "[storage.options.overlay]\n"
      // The guest's root is no other container's, and a mount of it on itself helps nobody.
      "skip_mount_home = \"true\"\n");
}

// No systemd to ask for groups or to log to; the VM's interfaces are the container's. A network
// backend is set up at every start, needed or not, and this one needs no program.
constexpr char kContainersConf[] =
    "[containers]\n"
    "netns = \"host\"\n"
    "log_driver = \"k8s-file\"\n"
    "\n"
    "[network]\n"
    "network_backend = \"cni\"\n"
    "\n"
    "[engine]\n"
    "cgroup_manager = \"cgroupfs\"\n"
    "events_logger = \"none\"\n"
    "runtime = \"crun\"\n";

// Images come from the host, which has checked what it wanted to check.
constexpr char kPolicy[] = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";

}  // namespace

void configure_guest_podman(const std::string& root) {
  const std::string folder = root + "/etc/containers";
  base::make_directories(folder);
  const auto write = [&](const char* name, std::string_view text) {
    base::write_file(base::cat(folder, "/", name), text, 0644);
  };
  write("storage.conf", storage_conf());
  write("containers.conf", kContainersConf);
  write("policy.json", kPolicy);
}

}  // namespace image
