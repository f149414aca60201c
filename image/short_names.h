// Which images a name without a registry may mean, by containers-registries.conf(5).
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "image/registry_name.h"

namespace image {

struct ShortNames {
  std::map<std::string, std::string> aliases;  // short name: "registry/path"
  std::vector<std::string> search;             // unqualified-search-registries
  // short-name-mode "enforcing": more than one registry to choose from is an error.
  bool enforcing = false;

  // What `name` may be in a registry, the best guess first; never empty. Without an alias or a
  // search registry that is docker.io. A name with a registry is itself. Throws base::Error.
  std::vector<RegistryName> remote(const RegistryName& name) const;
  // What it may be among the images that are here: the alias, localhost, the search registries,
  // docker.io.
  std::vector<RegistryName> local(const RegistryName& name) const;
};

// Adds what one configuration file says: of its keys those above, of its tables [aliases]. What
// else it holds (skopeo reads it) is skipped. A list or a mode replaces what was there, aliases are
// merged. Throws base::Error naming the line.
void add_registries_conf(std::string_view text, ShortNames& names);

// getenv(3), or a stand-in.
using Environment = std::function<const char*(const char* name)>;

// From the files podman reads: $CONTAINERS_REGISTRIES_CONF, or registries.conf and what is in
// registries.conf.d, below ~/.config/containers and below `system`; and the aliases podman has
// recorded. Throws base::Error naming the file.
ShortNames load_short_names(const Environment& environment,
                            const std::string& system = "/etc/containers");

}  // namespace image
