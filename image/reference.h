#pragma once

#include <string>
#include <string_view>

namespace image {

// Where an image comes from; the names are those of containers-transports(5).
enum class Transport {
  kDockerArchive,      // docker-archive:FILE[:NAME[:TAG]]
  kOciDirectory,       // oci:DIR[:TAG]
  kOciArchive,         // oci-archive:FILE[:TAG]
  kContainersStorage,  // containers-storage:NAME
  kDirectory,          // dir:DIR
  kRegistry,           // docker://NAME, or just NAME
  kDockerDaemon,       // docker-daemon:NAME[:TAG]
};

struct Reference {
  Transport transport{};
  std::string location;  // file, directory, or the name in a store or a registry
  std::string name;      // what follows the location, or empty
  std::string text;      // as given

  // As skopeo takes it: "<transport>:<location>[:<name>]". A registry's name has to be complete.
  std::string skopeo_name() const;
  bool operator==(const Reference&) const = default;
};

// Takes at most 4096 printable bytes. Throws base::Error, with a hint that lists what works, for a
// transport that is not in the list, or a malformed text. Touches no file. The location of a
// registry's image is the text of a RegistryName, which may still be short.
Reference parse_reference(std::string_view text);
// The reference of a complete name.
Reference registry_reference(const std::string& name);

// "docker-archive" and so on.
std::string_view transport_name(Transport transport);

}  // namespace image
