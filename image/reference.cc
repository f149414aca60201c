#include "image/reference.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"
#include "image/registry_name.h"

namespace image {
namespace {

constexpr std::size_t kMaxReferenceBytes = 4096;

struct TransportName {
  std::string_view name;
  Transport transport;
};
constexpr std::array<TransportName, 7> kTransports{{
    {"docker-archive", Transport::kDockerArchive},
    {"oci", Transport::kOciDirectory},
    {"oci-archive", Transport::kOciArchive},
    {"containers-storage", Transport::kContainersStorage},
    {"dir", Transport::kDirectory},
    {"docker", Transport::kRegistry},
    {"docker-daemon", Transport::kDockerDaemon},
}};

// Transports of containers-transports(5) that this version does not read.
constexpr std::array<std::string_view, 4> kOtherTransports{"sif", "atomic", "ostree", "tarball"};
constexpr std::string_view kRegistryPrefix = "docker://";

constexpr char kWhatWorks[] =
    "what works is [REGISTRY/]NAME[:TAG], docker://NAME, docker-archive:FILE, oci:DIR[:TAG], "
    "oci-archive:FILE[:TAG], containers-storage:NAME, docker-daemon:NAME, dir:DIR";

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  base::Error error(base::cat("reading image reference ", base::quoted(text), ": ", why));
  error.set_hint(kWhatWorks);
  throw error;
}

bool is_printable(char c) {
  return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
}

std::string complete_name(std::string_view text, std::string_view name) {
  try {
    return parse_registry_name(name).text();
  } catch (const base::Error& error) {
    refuse(text, error.what());
  }
}

Reference of_registry(std::string_view text, std::string_view name) {
  Reference reference;
  reference.transport = Transport::kRegistry;
  reference.location = complete_name(text, name);
  // Without a registry docker:// means docker.io, whatever is configured for short names.
  if (name.size() != text.size()) {
    const RegistryName parsed = parse_registry_name(reference.location);
    if (parsed.is_short()) reference.location = parsed.in("docker.io").text();
  }
  reference.text = text;
  return reference;
}

}  // namespace

std::string_view transport_name(Transport transport) {
  for (const auto& entry : kTransports) {
    if (entry.transport == transport) return entry.name;
  }
  return {};
}

std::string Reference::skopeo_name() const {
  if (transport == Transport::kRegistry) return base::cat(kRegistryPrefix, location);
  std::string out = base::cat(transport_name(transport), ":", location);
  if (!name.empty()) out += ":" + name;
  return out;
}

Reference registry_reference(const std::string& name) {
  Reference reference;
  reference.transport = Transport::kRegistry;
  reference.location = name;
  reference.text = name;
  return reference;
}

Reference parse_reference(std::string_view text) {
  if (text.empty()) refuse(text, "it is empty");
  if (text.size() > kMaxReferenceBytes) {
    refuse(text.substr(0, 64), base::cat("it is longer than ", kMaxReferenceBytes, " bytes"));
  }
  if (!std::all_of(text.begin(), text.end(), is_printable)) {
    refuse(text, "it holds control characters");
  }
  const auto colon = text.find(':');
  const std::string_view prefix = text.substr(0, colon);
  const auto known = std::find_if(kTransports.begin(), kTransports.end(),
                                  [&](const TransportName& entry) { return entry.name == prefix; });
  // "docker:20" is a name with a tag.
  if (colon == std::string_view::npos || known == kTransports.end() ||
      known->transport == Transport::kRegistry) {
    if (colon != std::string_view::npos &&
        std::find(kOtherTransports.begin(), kOtherTransports.end(), prefix) !=
            kOtherTransports.end()) {
      refuse(text, base::cat("this version does not read ", prefix, ": images"));
    }
    const bool explicitly = text.starts_with(kRegistryPrefix);
    return of_registry(text, explicitly ? text.substr(kRegistryPrefix.size()) : text);
  }
  Reference reference;
  reference.transport = known->transport;
  reference.text = text;
  const std::string_view rest = text.substr(colon + 1);
  if (known->transport == Transport::kContainersStorage) {
    // The brackets choose a store and its options, mount programs among them: not for a name that
    // may come from a script's argument.
    if (rest.starts_with('[')) refuse(text, "only the default containers-storage is read");
    reference.location = rest;
  } else if (known->transport == Transport::kDockerDaemon) {
    // An id is passed on as it is; a name gets the tag it stands for.
    reference.location =
        rest.empty() || rest.starts_with("sha256:") ? rest : complete_name(text, rest);
  } else if (known->transport == Transport::kDirectory) {
    reference.location = rest;
  } else {
    const auto end = rest.find(':');
    reference.location = rest.substr(0, end);
    if (end != std::string_view::npos) {
      reference.name = rest.substr(end + 1);
      if (reference.name.empty()) refuse(text, "nothing follows the last ':'");
    }
  }
  if (reference.location.empty()) {
    refuse(text, base::cat("a ",
                           known->transport == Transport::kContainersStorage ||
                                   known->transport == Transport::kDockerDaemon
                               ? "name"
                               : "path",
                           " is missing after '", prefix, ":'"));
  }
  return reference;
}

}  // namespace image
