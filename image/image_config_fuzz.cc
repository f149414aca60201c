// Any bytes as an image configuration: they are refused, or they read back from meta.json the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "image/image_config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const image::ParsedImageConfig parsed = image::parse_image_config(text);
    image::ImageMeta meta;
    meta.digest = "sha256:0";
    meta.reference = text.substr(0, 64);
    meta.created = parsed.created;
    meta.architecture = parsed.architecture;
    meta.os = parsed.os;
    meta.config = parsed.config;
    meta.layers = {"layers/0"};
    meta.passwd = text;
    if (meta.reference.find('\0') != std::string::npos) meta.reference.clear();
    if (image::parse_image_meta(image::serialize_image_meta(meta)) != meta) std::abort();
  } catch (const base::Error&) {
  }
  return 0;
}
