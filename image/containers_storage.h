// The layout skopeo leaves in a containers-storage directory (github.com/containers/storage,
// docs/containers-storage.md): which image it holds, and in which directories its layers lie.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace image {

struct StorageLayout {
  // "overlay": one directory of differences per layer, with whiteouts. "vfs": each layer's directory
  // is the whole file system up to it, which needs no privilege but space.
  std::string driver;
  std::string root;
  std::string run;

  // Relative to `root`.
  std::string layer_directory(const std::string& layer_id) const;
};

struct StoredImage {
  std::string id;                      // 64 hexadecimal digits
  std::vector<std::string> layer_ids;  // top first; empty for an image without layers
};

// From the texts of <driver>-images/images.json and <driver>-layers/layers.json. Throws base::Error
// unless there is exactly one image, ids are plain hexadecimal and the chain of parents ends.
StoredImage parse_containers_storage(std::string_view images_json, std::string_view layers_json);

// Reads both.
StoredImage read_containers_storage(const StorageLayout& layout);

}  // namespace image
