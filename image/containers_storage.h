// The layout skopeo leaves in a containers-storage directory of the overlay driver
// (github.com/containers/storage, docs/containers-storage.md): which image it holds, and in which
// directories its layers lie.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace image {

struct StoredImage {
  std::string id;                      // 64 hexadecimal digits
  std::vector<std::string> layer_ids;  // top first; empty for an image without layers
};

// From the texts of overlay-images/images.json and overlay-layers/layers.json. Throws base::Error
// unless there is exactly one image, ids are plain hexadecimal and the chain of parents ends.
StoredImage parse_containers_storage(std::string_view images_json, std::string_view layers_json);

// Reads both from `root`.
StoredImage read_containers_storage(const std::string& root);

}  // namespace image
