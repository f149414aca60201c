#include "image/reference.h"

#include <algorithm>
#include <array>
#include <cctype>

#include "base/error.h"

namespace image {
namespace {

constexpr std::size_t kMaxReferenceBytes = 4096;

struct TransportName {
  std::string_view name;
  Transport transport;
};
constexpr std::array<TransportName, 5> kTransports{{
    {"docker-archive", Transport::kDockerArchive},
    {"oci", Transport::kOciDirectory},
    {"oci-archive", Transport::kOciArchive},
    {"containers-storage", Transport::kContainersStorage},
    {"dir", Transport::kDirectory},
}};

// Transports of containers-transports(5) that this version does not read.
constexpr std::array<std::string_view, 6> kOtherTransports{"docker", "docker-daemon", "sif",
                                                           "atomic", "ostree",        "tarball"};

constexpr char kWhatWorks[] =
    "images that are on this machine work: docker-archive:FILE, oci:DIR[:TAG], "
    "oci-archive:FILE[:TAG], containers-storage:NAME, dir:DIR";

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  base::Error error(base::cat("reading image reference ", base::quoted(text), ": ", why));
  error.set_hint(kWhatWorks);
  throw error;
}

bool is_printable(char c) {
  return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
}

}  // namespace

std::string_view transport_name(Transport transport) {
  for (const auto& entry : kTransports) {
    if (entry.transport == transport) return entry.name;
  }
  return {};
}

std::string Reference::skopeo_name() const {
  std::string out = base::cat(transport_name(transport), ":", location);
  if (!name.empty()) out += ":" + name;
  return out;
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
  if (colon == std::string_view::npos || known == kTransports.end()) {
    if (colon != std::string_view::npos &&
        std::find(kOtherTransports.begin(), kOtherTransports.end(), prefix) !=
            kOtherTransports.end()) {
      refuse(text, base::cat("this version does not read ", prefix, ": images"));
    }
    refuse(text, "this version does not pull from registries");
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
    refuse(text,
           base::cat("a ", known->transport == Transport::kContainersStorage ? "name" : "path",
                     " is missing after '", prefix, ":'"));
  }
  return reference;
}

}  // namespace image
