#include "cli/image_flags.h"

#include <fcntl.h>

#include "base/fd.h"

namespace cli {
namespace {

constexpr std::size_t kShortIdChars = 12;

}  // namespace

void SourceFlags::declare(Options& options) {
  options.value("authfile", "FILE", "Credentials of registries; default podman's and docker's",
                access_.authfile);
  options.value("creds", "USER:PASSWORD", "For the registry", [this](const std::string& text) {
    const auto colon = text.find(':');
    if (colon == 0 || colon == std::string::npos) {
      throw base::Error("it has to look like USER:PASSWORD");
    }
    access_.credentials = text;
  });
  options.flag("tls-verify", tls_verify_, "Talk to registries by verified TLS only; the default");
  options.value("platform", "OS/ARCH[/VARIANT]", "Which of an image's variants",
                [this](const std::string& text) {
                  platform_ = image::parse_platform(text);
                  whole_platform_ = text;
                });
  const auto part = [&](const char* name, const char* argument, std::string& target,
                        const char* help) {
    options.value(name, argument, help, [this, name, &target](const std::string& text) {
      if (!whole_platform_.empty()) {
        throw base::Error(base::cat("--platform says all, --", name, " cannot be given too"));
      }
      target = image::go_architecture(text);
    });
  };
  part("arch", "ARCH", platform_.architecture, "The architecture of that variant");
  part("os", "OS", platform_.os, "The operating system of that variant");
  part("variant", "VARIANT", platform_.variant, "The variant of that architecture");
}

void SourceFlags::finish(image::EnsureOptions& ensure) const {
  if (!access_.authfile.empty()) {
    base::with_context("--authfile", [&] { base::open_file(access_.authfile, O_RDONLY); });
  }
  ensure.access = access_;
  if (!tls_verify_) ensure.access.tls_verify = false;
  ensure.platform = platform_;
}

std::string short_image_id(const std::string& digest) {
  const auto colon = digest.find(':');
  return digest.substr(colon == std::string::npos ? 0 : colon + 1, kShortIdChars);
}

base::Error unknown_image(const std::string& name) {
  return base::Error(base::cat(name, ": image not known")).set_hint("fcvm image ls lists images");
}

}  // namespace cli
