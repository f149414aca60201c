// Which name means which image: one small file per name, so that commands that run at once never
// rewrite each other's work.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "storage/data_directory.h"

namespace image {

struct NameEntry {
  std::string name;    // "docker.io/library/busybox:latest", with a registry
  std::string digest;  // "sha256:<hex>" of the image: its id
  bool operator==(const NameEntry&) const = default;
};

// A file that is torn, of another version or not about its own name is skipped with a warning: the
// name is unknown then, and the next pull writes it again.
class NameIndex {
 public:
  explicit NameIndex(const storage::DataDirectory& data) : directory_(data.image_names()) {}

  // Replaces what the name meant before, in one step. Throws base::Error.
  void set(const NameEntry& entry) const;
  std::optional<NameEntry> find(std::string_view name) const;
  // Sorted by name.
  std::vector<NameEntry> list() const;
  // Gone already is success.
  void remove(std::string_view name) const;

 private:
  std::string path_of(std::string_view name) const;
  std::optional<NameEntry> read(const std::string& path) const;

  std::string directory_;
};

// Throws base::Error on anything but what serializing made.
std::string serialize_name_entry(const NameEntry& entry);
NameEntry parse_name_entry(std::string_view json);

}  // namespace image
