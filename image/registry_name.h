// Names of images in registries, as podman and docker write them:
// [HOST[:PORT]/]PATH[:TAG][@sha256:HEX].
#pragma once

#include <string>
#include <string_view>

namespace image {

struct RegistryName {
  std::string domain;  // "docker.io", "localhost:5000"; empty for a short name
  std::string path;    // "library/busybox"
  std::string tag;     // empty where a digest is given; "latest" where nothing was
  std::string digest;  // "sha256:<hex>", or empty

  bool is_short() const { return domain.empty(); }
  std::string repository() const;  // "docker.io/library/busybox"
  std::string text() const;        // with the tag or the digest
  // The same image in another registry; "busybox" in docker.io is "library/busybox".
  RegistryName in(std::string_view other_domain) const;
  bool operator==(const RegistryName&) const = default;
};

// Of a name with a tag and a digest the digest counts, as in podman. "docker.io/busybox" becomes
// "docker.io/library/busybox". Throws base::Error that says what is wrong.
RegistryName parse_registry_name(std::string_view text);

}  // namespace image
