#include "image/registry_name.h"

#include <algorithm>

#include "base/error.h"

namespace image {
namespace {

constexpr std::string_view kDockerDomain = "docker.io";
constexpr std::size_t kMaxNameBytes = 255;
constexpr std::size_t kMaxTagBytes = 128;

bool is_lower(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw base::Error(base::cat(base::quoted(text), " is no image name: ", why));
}

// One part between slashes: letters and digits joined by '.', '_', '__' or dashes.
bool is_path_part(std::string_view part) {
  if (part.empty() || !is_lower(part.front()) || !is_lower(part.back())) return false;
  for (std::size_t i = 0; i < part.size(); ++i) {
    const char c = part[i];
    if (is_lower(c) || c == '-') continue;
    if (c != '.' && c != '_') return false;
    const char next = part[i + 1];  // the last one is a letter or a digit
    if (is_lower(next)) continue;
    if (c == '_' && next == '_' && is_lower(part[i + 2])) {
      ++i;
      continue;
    }
    return false;
  }
  return true;
}

bool is_domain(std::string_view domain) {
  const auto colon = domain.rfind(':');
  const std::string_view host = domain.substr(0, colon);
  if (colon != std::string_view::npos) {
    const std::string_view port = domain.substr(colon + 1);
    if (port.empty() || port.size() > 5 ||
        port.find_first_not_of("0123456789") != std::string_view::npos) {
      return false;
    }
  }
  if (host.empty() || host.front() == '-' || host.front() == '.' || host.back() == '.') {
    return false;
  }
  return std::all_of(host.begin(), host.end(),
                     [](char c) { return is_lower(c) || is_upper(c) || c == '.' || c == '-'; });
}

bool is_tag(std::string_view tag) {
  if (tag.empty() || tag.size() > kMaxTagBytes || tag.front() == '.' || tag.front() == '-') {
    return false;
  }
  return std::all_of(tag.begin(), tag.end(), [](char c) {
    return is_lower(c) || is_upper(c) || c == '_' || c == '.' || c == '-';
  });
}

bool is_digest(std::string_view digest) {
  constexpr std::string_view kPrefix = "sha256:";
  return digest.starts_with(kPrefix) && digest.size() == kPrefix.size() + 64 &&
         digest.find_first_not_of("0123456789abcdef", kPrefix.size()) == std::string_view::npos;
}

}  // namespace

std::string RegistryName::repository() const {
  return domain.empty() ? path : domain + "/" + path;
}

std::string RegistryName::text() const {
  return repository() + (digest.empty() ? ":" + tag : "@" + digest);
}

RegistryName RegistryName::in(std::string_view other_domain) const {
  RegistryName name = *this;
  name.domain = other_domain;
  if (other_domain == kDockerDomain && path.find('/') == std::string::npos) {
    name.path = "library/" + path;
  }
  return name;
}

RegistryName parse_registry_name(std::string_view text) {
  RegistryName name;
  std::string_view rest = text;
  if (const auto at = rest.find('@'); at != std::string_view::npos) {
    name.digest = rest.substr(at + 1);
    if (!is_digest(name.digest)) refuse(text, "what follows '@' is not sha256: and 64 digits");
    rest = rest.substr(0, at);
  }
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view first = rest.substr(0, slash);
    if (first == "localhost" || first.find_first_of(".:") != std::string_view::npos ||
        std::any_of(first.begin(), first.end(), is_upper)) {
      if (!is_domain(first)) {
        refuse(text, base::cat(base::quoted(first), " is no name of a registry"));
      }
      name.domain = first == "index.docker.io" ? kDockerDomain : first;
      rest = rest.substr(slash + 1);
    }
  }
  if (const auto colon = rest.find(':'); colon != std::string_view::npos) {
    if (!is_tag(rest.substr(colon + 1))) refuse(text, "the tag is malformed");
    if (name.digest.empty()) name.tag = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  } else if (name.digest.empty()) {
    name.tag = "latest";
  }
  name.path = rest;
  if (std::any_of(rest.begin(), rest.end(), is_upper)) {
    refuse(text, "names are in lower case");
  }
  for (std::size_t begin = 0; begin <= rest.size();) {
    const auto end = std::min(rest.find('/', begin), rest.size());
    if (!is_path_part(rest.substr(begin, end - begin))) {
      refuse(text, "it has to look like [REGISTRY/]NAME[:TAG]");
    }
    begin = end + 1;
  }
  if (name.repository().size() > kMaxNameBytes) refuse(text.substr(0, 64), "it is too long");
  return name.domain == kDockerDomain ? name.in(kDockerDomain) : name;
}

}  // namespace image
