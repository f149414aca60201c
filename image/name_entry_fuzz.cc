// Any bytes as the file of an image's name: they are refused, or they say what is written again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "image/name_index.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const image::NameEntry entry = image::parse_name_entry(text);
    if (image::parse_name_entry(image::serialize_name_entry(entry)) != entry) std::abort();
  } catch (const base::Error&) {
  }
  return 0;
}
