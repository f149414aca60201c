#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace fc_agent {

// Podman of the guest's root, as the engine of the container.
struct Podman {
  std::string program = "/usr/bin/podman";
  // A link to this very program (fc-agent/conmon.h), made by the boot.
  std::string conmon = "/run/fcvm/conmon";
  std::string conmon_socket = "/run/fcvm/conmon.sock";
  // On the VM's own disk, as the container is: the id podman gave it, once it was made.
  std::string container_id_file = "/var/lib/fcvm/container-id";
  // A name for the container's root that does not change, where the other engine has its own.
  std::string root_link = "/run/fcvm/rootfs";
};

// The command line that makes and starts the container by the plan's `arguments`, or that starts it
// when an earlier boot of this disk has made it.
std::vector<std::string> podman_command(const Podman& podman,
                                        const std::vector<std::string>& arguments);

// The container was made: remembers its id and where its root is. `config` is its OCI configuration.
void remember_podman_container(const Podman& podman, const std::string& id,
                               std::string_view config);

// The container's configuration in `bundle`, made by podman for the host name its store has, for
// `host_name`: the store of a clone is its parent's. Throws base::Error.
void set_podman_host_name(const std::string& bundle, const std::string& host_name);

// Why podman failed, from what it wrote: its last line, without "Error: ".
std::string podman_failure(std::string_view output, std::string_view fallback);

// Puts the agent in the place of conmon.
void link_conmon(const Podman& podman);

}  // namespace fc_agent
