// Any bytes as the table of contents of an archive of images: it is refused, or names images whose
// names are complete and which skopeo finds in that archive and nowhere else.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "image/archive.h"
#include "image/registry_name.h"

namespace {

// What is thrown here ends the program.
void check(const std::vector<image::ArchiveImage>& images, const std::string& prefix) noexcept {
  if (images.empty()) std::abort();
  for (const image::ArchiveImage& entry : images) {
    if (!entry.reference.skopeo_name().starts_with(prefix)) std::abort();
    for (const std::string& name : entry.names) {
      const image::RegistryName parsed = image::parse_registry_name(name);
      if (parsed.is_short() || parsed.text() != name) std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    check(image::parse_docker_manifest(text, "/a.tar"), "docker-archive:/a.tar");
  } catch (const base::Error&) {
  }
  try {
    check(image::parse_oci_index(text, "/a", image::Transport::kOciDirectory), "oci:/a");
  } catch (const base::Error&) {
  }
  return 0;
}
