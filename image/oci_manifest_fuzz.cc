// Any bytes as the JSON of an OCI image layout: they are refused, or what was read of them reads back
// the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "image/oci_manifest.h"

namespace {

void check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const std::string digest = image::find_oci_manifest(text, "");
    check(image::find_oci_manifest(image::serialize_oci_index(digest, size), "") == digest);
  } catch (const base::Error&) {
  }
  try {
    const image::OciManifest manifest = image::parse_oci_manifest(text);
    const std::vector<std::uint64_t> bytes(manifest.layers.size(), size);
    const image::OciManifest again =
        image::parse_oci_manifest(image::serialize_oci_manifest(manifest, size, bytes));
    check(again.config == manifest.config && again.layers.size() == manifest.layers.size());
    for (std::size_t i = 0; i < again.layers.size(); ++i) {
      check(again.layers[i].digest == manifest.layers[i].digest &&
            again.layers[i].compressed == manifest.layers[i].compressed);
    }
  } catch (const base::Error&) {
  }
  try {
    for (const std::string& id : image::parse_diff_ids(text)) check(id.size() == 71);
  } catch (const base::Error&) {
  }
  return 0;
}
