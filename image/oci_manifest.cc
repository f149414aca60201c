#include "image/oci_manifest.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "image/image_config.h"

namespace image {
namespace {

using nlohmann::json;

// Media types of image-spec 1.0, media-types.md.
constexpr char kManifestType[] = "application/vnd.oci.image.manifest.v1+json";
constexpr char kConfigType[] = "application/vnd.oci.image.config.v1+json";
constexpr char kTarType[] = "application/vnd.oci.image.layer.v1.tar";
constexpr char kGzipType[] = "application/vnd.oci.image.layer.v1.tar+gzip";
constexpr char kNameAnnotation[] = "org.opencontainers.image.ref.name";

constexpr std::size_t kMaxLayers = 500;
constexpr std::size_t kMaxManifests = 10'000;

// parse_json, and errors of whoever looks for members that are not there.
template <typename Read>
auto read_json(std::string_view text, Read&& read) {
  try {
    return read(base::parse_json(text, kMaxImageConfigBytes));
  } catch (const json::exception& error) {
    throw base::Error(base::cat("reading an image's JSON: ", error.what()));
  }
}

std::string checked_digest(const json& value) {
  constexpr std::string_view kPrefix = "sha256:";
  const auto digest = value.get<std::string>();
  if (digest.size() != kPrefix.size() + 64 || !digest.starts_with(kPrefix) ||
      digest.find_first_not_of("0123456789abcdef", kPrefix.size()) != std::string::npos) {
    throw base::Error(base::cat("digest ", base::quoted(digest), " is not SHA-256"));
  }
  return digest;
}

json descriptor(const char* type, const std::string& digest, std::uint64_t bytes) {
  return {{"mediaType", type}, {"digest", digest}, {"size", bytes}};
}

const json& checked_list(const json& list, std::size_t max_entries) {
  if (!list.is_array() || list.size() > max_entries)
    throw base::Error("a list is not one, or long");
  return list;
}

}  // namespace

std::string find_oci_manifest(std::string_view text, const std::string& name) {
  return read_json(text, [&](const json& index) {
    const json* found = nullptr;
    for (const json& manifest : checked_list(index.at("manifests"), kMaxManifests)) {
      const json annotations = manifest.value("annotations", json::object());
      if (!name.empty() && annotations.value(kNameAnnotation, "") != name) continue;
      if (found != nullptr) throw base::Error("more than one image is meant");
      found = &manifest;
    }
    if (found == nullptr) throw base::Error("there is no such image");
    if (found->at("mediaType") != kManifestType) throw base::Error("it is no plain image");
    return checked_digest(found->at("digest"));
  });
}

OciManifest parse_oci_manifest(std::string_view text) {
  return read_json(text, [](const json& object) {
    if (object.at("schemaVersion") != 2 ||
        object.value("mediaType", kManifestType) != kManifestType ||
        object.at("config").at("mediaType") != kConfigType) {
      throw base::Error("the manifest is not that of a plain image");
    }
    OciManifest manifest;
    manifest.config = checked_digest(object.at("config").at("digest"));
    for (const json& layer : checked_list(object.at("layers"), kMaxLayers)) {
      const auto type = layer.at("mediaType").get<std::string>();
      if (type != kTarType && type != kGzipType) throw base::Error("a layer is no plain tar");
      manifest.layers.push_back({checked_digest(layer.at("digest")), type == kGzipType});
    }
    return manifest;
  });
}

std::vector<std::string> parse_diff_ids(std::string_view config) {
  return read_json(config, [](const json& object) {
    std::vector<std::string> ids;
    for (const json& id : checked_list(object.at("rootfs").at("diff_ids"), kMaxLayers)) {
      ids.push_back(checked_digest(id));
    }
    return ids;
  });
}

std::string serialize_oci_manifest(const OciManifest& manifest, std::uint64_t config_bytes,
                                   const std::vector<std::uint64_t>& layer_bytes) {
  json layers = json::array();
  for (std::size_t i = 0; i < manifest.layers.size(); ++i) {
    const OciLayer& layer = manifest.layers[i];
    layers.push_back(
        descriptor(layer.compressed ? kGzipType : kTarType, layer.digest, layer_bytes.at(i)));
  }
  return json{{"schemaVersion", 2},
              {"mediaType", kManifestType},
              {"config", descriptor(kConfigType, manifest.config, config_bytes)},
              {"layers", std::move(layers)}}
      .dump();
}

std::string serialize_oci_index(const std::string& manifest_digest, std::uint64_t manifest_bytes) {
  const json manifest = descriptor(kManifestType, manifest_digest, manifest_bytes);
  return json{{"schemaVersion", 2}, {"manifests", json::array({manifest})}}.dump();
}

}  // namespace image
