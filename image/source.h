// How an image is got from where it comes: what the user may choose of it.
#pragma once

#include <optional>
#include <string>

namespace image {

// Of images in registries, as podman's --pull: whether one that is here is enough.
enum class PullPolicy {
  kMissing,
  kAlways,
  kNever,
  kNewer,  // as always, but one that is here is enough when the registry does not answer
};

// Which of an image's variants; empty members are this machine's. The words are those of Go:
// "linux", "amd64".
struct Platform {
  std::string os;
  std::string architecture;
  std::string variant;

  bool given() const { return !os.empty() || !architecture.empty() || !variant.empty(); }
  bool operator==(const Platform&) const = default;
};

// "OS/ARCH[/VARIANT]", where x86_64 is amd64 and aarch64 is arm64. Throws base::Error.
Platform parse_platform(const std::string& text);
// "amd64" for "x86_64" and so on; what it does not know stays.
std::string go_architecture(const std::string& name);

struct RegistryAccess {
  std::string authfile;     // containers-auth.json(5); empty: where podman and docker keep theirs
  std::string credentials;  // "USER:PASSWORD", instead of a file
  std::optional<bool> tls_verify;
  bool operator==(const RegistryAccess&) const = default;
};

}  // namespace image
