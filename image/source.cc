#include "image/source.h"

#include "base/error.h"

namespace image {

std::string go_architecture(const std::string& name) {
  if (name == "x86_64" || name == "x86-64") return "amd64";
  if (name == "aarch64") return "arm64";
  if (name == "i386" || name == "i686") return "386";
  return name;
}

Platform parse_platform(const std::string& text) {
  const auto first = text.find('/');
  const auto second = first == std::string::npos ? first : text.find('/', first + 1);
  Platform platform;
  platform.os = text.substr(0, first);
  if (first != std::string::npos) {
    platform.architecture = go_architecture(text.substr(first + 1, second - first - 1));
  }
  if (second != std::string::npos) platform.variant = text.substr(second + 1);
  if (platform.os.empty() || platform.architecture.empty() ||
      platform.variant.find('/') != std::string::npos ||
      (second != std::string::npos && platform.variant.empty())) {
    throw base::Error(base::cat(base::quoted(text),
                                " is no platform: it has to look like "
                                "linux/amd64 or linux/arm/v7"));
  }
  return platform;
}

}  // namespace image
