// What fcvm knows of an image: read once from hostile bytes when its disk is made, kept in meta.json
// beside the disk.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace image {

// `HEALTHCHECK` of a Dockerfile; times in nanoseconds, 0 where the image leaves them to the engine.
struct Healthcheck {
  std::vector<std::string> test;  // {"NONE"}, {"CMD", …} or {"CMD-SHELL", text}
  std::int64_t interval_ns = 0;
  std::int64_t timeout_ns = 0;
  std::int64_t start_period_ns = 0;
  int retries = 0;
  bool operator==(const Healthcheck&) const = default;
};

// The `config` object of the OCI image specification (config.md), and the fields Docker adds.
struct ImageConfig {
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  std::vector<std::string> env;  // NAME=value
  std::string working_dir;
  std::string user;
  std::string stop_signal;
  std::map<std::string, std::string> labels;
  std::vector<std::string> exposed_ports;  // "80/tcp", sorted
  std::vector<std::string> volumes;        // sorted
  std::optional<Healthcheck> healthcheck;
  bool operator==(const ImageConfig&) const = default;
};

struct ImageMeta {
  std::string digest;     // "sha256:<hex>" of the image configuration: the image id
  std::string reference;  // as the user gave it
  std::string created;    // RFC 3339, or empty
  std::string architecture;
  std::string os;
  ImageConfig config;
  // Top first, relative to the root of the image disk: ready to be joined into overlay's lowerdir.
  // Never empty. Short, so that 127 of them fit into the 4096 bytes of mount(2) options.
  std::vector<std::string> layers;
  // Of the merged root file system; empty where the image has none.
  std::string passwd;
  std::string group;
  bool operator==(const ImageMeta&) const = default;
};

// meta.json. Deserializing throws base::Error on anything but what serializing made.
std::string serialize_image_meta(const ImageMeta& meta);
ImageMeta parse_image_meta(std::string_view json);

}  // namespace image
