// The JSON of an OCI image layout (image-spec 1.0: image-index.md, manifest.md, config.md), as far as
// it is of the plainest kind: everything else is refused, for skopeo to read.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace image {

struct OciLayer {
  std::string digest;       // "sha256:<hex>", as all digests here
  bool compressed = false;  // by gzip; else a tar as it is
};

struct OciManifest {
  std::string config;
  std::vector<OciLayer> layers;  // bottom first
};

// All throw base::Error. `text` is anybody's, at most kMaxImageConfigBytes.

// The digest of the manifest that `name` means in an index.json; the only one when it is empty.
std::string find_oci_manifest(std::string_view text, const std::string& name);
OciManifest parse_oci_manifest(std::string_view text);
// Digests of the decompressed layers, as an image configuration has them.
std::vector<std::string> parse_diff_ids(std::string_view config);

// The manifest, or the index, that parses as these.
std::string serialize_oci_manifest(const OciManifest& manifest, std::uint64_t config_bytes,
                                   const std::vector<std::uint64_t>& layer_bytes);
std::string serialize_oci_index(const std::string& manifest_digest, std::uint64_t manifest_bytes);

}  // namespace image
