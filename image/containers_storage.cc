#include "image/containers_storage.h"

#include <map>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "image/detail/json_fields.h"

namespace image {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 16 << 20;
constexpr std::size_t kMaxLayers = 500;

// Ids become parts of paths.
std::string checked_id(const std::string& id) {
  if (id.size() != 64 || id.find_first_not_of("0123456789abcdef") != std::string::npos) {
    throw base::Error(base::cat(base::quoted(id.substr(0, 80)), " is no id"));
  }
  return id;
}

json parse_list(std::string_view text) {
  json document = base::parse_json(text, kMaxBytes);
  if (!document.is_array()) throw base::Error("it is not a list");
  for (const json& entry : document) {
    if (!entry.is_object()) throw base::Error("an entry is not an object");
  }
  return document;
}

}  // namespace

StoredImage parse_containers_storage(std::string_view images_json, std::string_view layers_json) {
  return base::with_context("reading the unpacked image", [&] {
    const json images = parse_list(images_json);
    if (images.size() != 1) throw base::Error("there is not exactly one image");
    StoredImage image;
    image.id = checked_id(detail::text_field(images.front(), "id"));
    std::map<std::string, std::string> parents;
    for (const json& layer : parse_list(layers_json)) {
      parents[checked_id(detail::text_field(layer, "id"))] = detail::text_field(layer, "parent");
    }
    for (std::string id = detail::text_field(images.front(), "layer"); !id.empty();) {
      if (image.layer_ids.size() == kMaxLayers) throw base::Error("it has too many layers");
      const auto layer = parents.find(id);
      if (layer == parents.end()) throw base::Error("a layer is missing");
      image.layer_ids.push_back(id);
      id = layer->second;
    }
    return image;
  });
}

std::string StorageLayout::layer_directory(const std::string& layer_id) const {
  return driver == "overlay" ? "overlay/" + layer_id + "/diff" : driver + "/dir/" + layer_id;
}

StoredImage read_containers_storage(const StorageLayout& layout) {
  const std::string prefix = layout.root + "/" + layout.driver;
  return parse_containers_storage(
      base::read_file(prefix + "-images/images.json", kMaxBytes),
      base::try_read_file(prefix + "-layers/layers.json", kMaxBytes).value_or("[]"));
}

}  // namespace image
