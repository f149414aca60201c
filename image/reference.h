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
};

struct Reference {
  Transport transport{};
  std::string location;  // file, directory, or the name in containers-storage
  std::string name;      // what follows the location, or empty
  std::string text;      // as given

  // As skopeo takes it: "<transport>:<location>[:<name>]".
  std::string skopeo_name() const;
  bool operator==(const Reference&) const = default;
};

// Takes at most 4096 printable bytes. Throws base::Error, with a hint that lists what works, for a
// registry reference, a transport that is not in the list, or a malformed text. Touches no file.
Reference parse_reference(std::string_view text);

// "docker-archive" and so on.
std::string_view transport_name(Transport transport);

}  // namespace image
