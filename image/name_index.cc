#include "image/name_index.h"

#include <algorithm>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "image/detail/json_fields.h"
#include "image/registry_name.h"
#include "storage/staging.h"

namespace image {
namespace {

constexpr int kSchema = 1;
constexpr std::size_t kMaxBytes = 4096;
constexpr char kSuffix[] = ".json";

}  // namespace

std::string serialize_name_entry(const NameEntry& entry) {
  const nlohmann::json out{{"schema", kSchema}, {"name", entry.name}, {"digest", entry.digest}};
  return out.dump(1) + "\n";
}

NameEntry parse_name_entry(std::string_view text) {
  const nlohmann::json document = base::parse_json(text, kMaxBytes, 8);
  if (!document.is_object()) throw base::Error("it is not an object");
  if (detail::integer_field(document, "schema") != kSchema) {
    throw base::Error("it was written by another version of fcvm");
  }
  NameEntry entry;
  entry.name = detail::text_field(document, "name");
  entry.digest = detail::text_field(document, "digest");
  const RegistryName name = parse_registry_name(entry.name);
  if (name.is_short() || name.text() != entry.name) detail::bad_field("name", "is not complete");
  if (parse_registry_name("x/x@" + entry.digest).digest != entry.digest) {
    detail::bad_field("digest", "is none");
  }
  return entry;
}

std::string NameIndex::path_of(std::string_view name) const {
  return directory_ + "/" + base::sha256(name) + kSuffix;
}

std::optional<NameEntry> NameIndex::read(const std::string& path) const {
  try {
    const auto text = base::try_read_file(path, kMaxBytes);
    if (!text) return std::nullopt;
    NameEntry entry = parse_name_entry(*text);
    if (path_of(entry.name) != path) throw base::Error("it is about another name");
    return entry;
  } catch (base::Error& error) {
    error.add_context(base::cat("reading the name of an image in ", base::quoted(path)));
    base::log_warn(error.what());
    return std::nullopt;
  }
}

void NameIndex::set(const NameEntry& entry) const {
  const std::string path = path_of(entry.name);
  storage::StagingFile file(directory_, path.substr(directory_.size() + 1));
  base::write_all(file.fd(), serialize_name_entry(entry));
  file.publish();
}

std::optional<NameEntry> NameIndex::find(std::string_view name) const {
  return read(path_of(name));
}

std::vector<NameEntry> NameIndex::list() const {
  std::vector<NameEntry> entries;
  for (const std::string& file : base::list_directory(directory_)) {
    if (file.size() != 64 + sizeof kSuffix - 1 || !file.ends_with(kSuffix)) continue;
    if (auto entry = read(directory_ + "/" + file)) entries.push_back(std::move(*entry));
  }
  std::sort(entries.begin(), entries.end(),
            [](const NameEntry& a, const NameEntry& b) { return a.name < b.name; });
  return entries;
}

void NameIndex::remove(std::string_view name) const {
  base::remove_tree(path_of(name));
}

}  // namespace image
