// The texts of /etc/hosts and /etc/resolv.conf of a container, as podman writes them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "vm/run_options.h"

namespace vm {

struct HostsInput {
  std::vector<HostEntry> extra;  // --add-host, first in the file
  std::string_view base;         // a hosts(5) text; comments are dropped
  std::string host_ip;           // host.containers.internal; empty: not named
  std::string container_ip;
  std::vector<std::string> container_names;
};

// Names in `extra` and `base` win over localhost, the host and the container itself.
std::string make_hosts(const HostsInput& input);

// resolv.conf(5). A lone "." as search domain means none.
std::string make_resolv_conf(const std::vector<std::string>& nameservers,
                             const std::vector<std::string>& search_domains);

}  // namespace vm
