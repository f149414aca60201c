#include "vm/snapshot/snapshot.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace vm {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxTagBytes = 63;
constexpr std::size_t kMaxRecordBytes = 4 << 20;

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

void check_tag(std::string_view tag) {
  const bool fits = !tag.empty() && tag.size() <= kMaxTagBytes && is_plain(tag[0]) &&
                    std::all_of(tag.begin(), tag.end(), [](char c) {
                      return is_plain(c) || c == '_' || c == '.' || c == '-';
                    });
  if (fits) return;
  throw base::Error(base::cat("malformed tag ", base::quoted(tag)))
      .set_hint("letters, digits, '_', '.' and '-', beginning with a letter or digit; at most 63");
}

const SnapshotFile& Snapshot::file(std::string_view name) const {
  for (const auto& file : files) {
    if (file.name == name) return file;
  }
  throw base::Error(base::cat("snapshot ", base::quoted(tag), " has no file ", base::quoted(name)));
}

std::string to_json(const Snapshot& snapshot) {
  Json files = Json::array();
  for (const auto& file : snapshot.files) {
    files.push_back({{"name", file.name},
                     {"bytes", file.bytes},
                     {"digest", file.digest},
                     {"stamp", file.stamp}});
  }
  const Json json{
      {"schema", Snapshot::kSchema},
      {"tag", snapshot.tag},
      {"created_ns", snapshot.created_ns},
      {"parent", snapshot.parent},
      {"vm", to_json(snapshot.vm)},
      {"requirements", snapshot.requirements},
      {"kernel_digest", snapshot.kernel_digest},
      {"devices", snapshot.devices},
      {"link_epoch", snapshot.link_epoch},
      {"pause_us", snapshot.pause_us},
      {"image_disk", snapshot.image_disk},
      {"image_disk_digest", snapshot.image_disk_digest},
      {"files", files},
  };
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

Snapshot parse_snapshot(std::string_view text) {
  const Json json = base::parse_json(text, kMaxRecordBytes);
  Snapshot snapshot;
  try {
    const int schema = json.at("schema").get<int>();
    if (schema != Snapshot::kSchema) {
      throw base::Error(
          base::cat("its record has schema ", schema, ", this fcvm reads ", Snapshot::kSchema));
    }
    json.at("tag").get_to(snapshot.tag);
    json.at("created_ns").get_to(snapshot.created_ns);
    json.at("parent").get_to(snapshot.parent);
    snapshot.vm = parse_vm_record(json.at("vm").get<std::string>());
    json.at("requirements").get_to(snapshot.requirements);
    json.at("kernel_digest").get_to(snapshot.kernel_digest);
    json.at("devices").get_to(snapshot.devices);
    json.at("link_epoch").get_to(snapshot.link_epoch);
    json.at("pause_us").get_to(snapshot.pause_us);
    json.at("image_disk").get_to(snapshot.image_disk);
    json.at("image_disk_digest").get_to(snapshot.image_disk_digest);
    for (const Json& file : json.at("files")) {
      snapshot.files.push_back(
          {file.at("name").get<std::string>(), file.at("bytes").get<std::uint64_t>(),
           file.at("digest").get<std::string>(), file.at("stamp").get<std::string>()});
    }
  } catch (const Json::exception& error) {
    throw base::Error(base::cat("reading its record: ", error.what()));
  }
  return snapshot;
}

}  // namespace vm
