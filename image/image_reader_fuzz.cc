// The other readers of what an image or a package brings; the first byte chooses which.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "image/containers_storage.h"
#include "image/image_meta.h"
#include "image/kernel.h"
#include "image/kernel_modules.h"
#include "image/packages.h"
#include "image/reference.h"
#include "image/skopeo.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // SAFETY: bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  try {
    switch (data[0] % 8) {
      case 0:
        (void)image::parse_reference(text);
        break;
      case 1: {
        const auto half = text.find('\n');
        (void)image::parse_containers_storage(
            text.substr(0, half), half == std::string_view::npos ? "[]" : text.substr(half));
        break;
      }
      case 2:
        (void)image::parse_image_meta(text);
        break;
      case 3:
        (void)image::module_dependencies(text);
        break;
      case 4:
        (void)image::kernel_release(text);
        break;
      case 5:
        (void)image::resolve_closure(std::string(text), {"crun"});
        break;
      case 6:
        (void)image::parse_package_uri(std::string(text));
        break;
      default:
        (void)image::skopeo_reason(std::string(text));
        break;
    }
  } catch (const base::Error&) {
  }
  return 0;
}
