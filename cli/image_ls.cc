#include <time.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/command.h"
#include "cli/image_flags.h"
#include "cli/output.h"
#include "cli/template.h"
#include "image/registry_name.h"

namespace cli {
namespace {

using nlohmann::json;

// Seconds since the epoch of an RFC 3339 time; 0 where an image has none or an odd one.
std::int64_t seconds_of(const std::string& rfc3339) {
  struct tm parts {};
  const char* rest = ::strptime(rfc3339.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return 0;
  while (*rest == '.' || (*rest >= '0' && *rest <= '9')) ++rest;
  int hours = 0;
  int minutes = 0;
  char sign = 0;
  const bool has_zone = std::sscanf(rest, "%c%2d:%2d", &sign, &hours, &minutes) == 3;
  const std::int64_t offset = has_zone ? (hours * 60 + minutes) * 60 : 0;
  return ::timegm(&parts) - (sign == '-' ? -offset : offset);
}

// One line of the table: an image under one of its names.
struct Row {
  const image::ImageDisk* disk;
  std::string repository = "<none>";
  std::string tag = "<none>";
};

std::vector<Row> rows_of(const std::vector<image::ImageDisk>& disks) {
  std::vector<Row> rows;
  for (const auto& disk : disks) {
    if (disk.names.empty()) rows.push_back({&disk});
    for (const auto& text : disk.names) {
      const image::RegistryName name = image::parse_registry_name(text);
      rows.push_back({&disk, name.repository(), name.tag.empty() ? "<none>" : name.tag});
    }
  }
  return rows;
}

std::string since_text(const image::ImageDisk& disk) {
  return human_duration(::time(nullptr) - seconds_of(disk.meta.created)) + " ago";
}

std::string id_text(const image::ImageDisk& disk, bool whole) {
  return whole ? disk.digest : short_image_id(disk.digest);
}

// The fields of podman's templates.
json template_rows(const std::vector<Row>& rows, bool whole_ids) {
  json out = json::array();
  for (const Row& row : rows) {
    const image::ImageDisk& disk = *row.disk;
    out.push_back({{"ID", id_text(disk, whole_ids)},
                   {"Id", disk.digest.substr(disk.digest.find(':') + 1)},
                   {"Repository", row.repository},
                   {"Tag", row.tag},
                   {"Size", human_bytes(disk.disk_bytes)},
                   {"VirtualSize", disk.disk_bytes},
                   {"Created", since_text(disk)},
                   {"CreatedSince", since_text(disk)},
                   {"CreatedAt", template_time(disk.meta.created.empty() ? "1970-01-01T00:00:00Z"
                                                                         : disk.meta.created)},
                   {"CreatedTime", disk.meta.created},
                   {"Names", disk.names},
                   {"RepoTags", disk.names},
                   {"Labels", disk.meta.config.labels},
                   {"Architecture", disk.meta.architecture},
                   {"Os", disk.meta.os},
                   {"ReadOnly", false}});
  }
  return out;
}

const json& headings() {
  static const json kHeadings{{"ID", "IMAGE ID"},
                              {"Created", "CREATED"},
                              {"CreatedSince", "CREATED"},
                              {"Repository", "REPOSITORY"},
                              {"Tag", "TAG"},
                              {"Size", "SIZE"},
                              {"Id", nullptr},
                              {"VirtualSize", nullptr},
                              {"CreatedAt", nullptr},
                              {"CreatedTime", nullptr},
                              {"Names", nullptr},
                              {"RepoTags", nullptr},
                              {"Labels", nullptr},
                              {"Architecture", nullptr},
                              {"Os", nullptr},
                              {"ReadOnly", nullptr}};
  return kHeadings;
}

std::string json_of(const std::vector<image::ImageDisk>& disks,
                    const std::map<std::string, std::size_t>& users) {
  json out = json::array();
  for (const auto& disk : disks) {
    const auto count = users.find(disk.digest);
    out.push_back({{"id", disk.digest},
                   {"names", disk.names},
                   {"created", disk.meta.created},
                   {"size_bytes", disk.disk_bytes},
                   {"architecture", disk.meta.architecture},
                   {"os", disk.meta.os},
                   {"labels", disk.meta.config.labels},
                   {"vms", count == users.end() ? 0 : count->second}});
  }
  return out.dump(2, ' ', false, json::error_handler_t::replace) + '\n';
}

std::string ids_of(const std::vector<image::ImageDisk>& disks, bool whole) {
  std::string ids;
  for (const auto& disk : disks) ids += id_text(disk, whole) + '\n';
  return ids;
}

std::string table_of(const std::vector<Row>& rows, bool heading, bool whole_ids) {
  std::vector<std::vector<std::string>> table;
  if (heading) table.push_back({"REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"});
  for (const Row& row : rows) {
    table.push_back({row.repository, row.tag, id_text(*row.disk, whole_ids), since_text(*row.disk),
                     human_bytes(row.disk->disk_bytes)});
  }
  return table.empty() ? std::string() : render_table(table);
}

// Only what `name` may mean: an image's id, or a repository with or without a tag.
void keep_named(const std::string& name, const image::ImageStore& store,
                std::vector<image::ImageDisk>& disks) {
  const auto found = store.find(name);
  const bool any_tag = name.find(':', name.rfind('/') == std::string::npos ? 0 : name.rfind('/')) ==
                       std::string::npos;
  std::erase_if(disks, [&](image::ImageDisk& disk) {
    if (found && found->disk.digest == disk.digest && !any_tag) {
      if (!found->name.empty()) disk.names = {found->name};
      return false;
    }
    if (!any_tag) return true;
    std::erase_if(disk.names, [&](const std::string& text) {
      const std::string repository = image::parse_registry_name(text).repository();
      return repository != name && !repository.ends_with("/" + name);
    });
    return disk.names.empty() && !(found && found->disk.digest == disk.digest);
  });
}

}  // namespace

int image_ls(Invocation& invocation) {
  bool all = false;
  bool quiet = false;
  bool json_wanted = false;
  bool no_heading = false;
  bool whole_ids = false;
  std::optional<ListFormat> format;
  Options options;
  options.flag("all,a", all, "All images, which is the default: there are no intermediate ones");
  options.flag("quiet,q", quiet, "Print IDs only");
  options.flag("json", json_wanted, "Print one JSON array");
  options.value("format", "TEMPLATE", "Print by a template, a table of one, or json",
                [&](const std::string& text) { format.emplace(text); });
  options.flag("noheading,n", no_heading, "No heading above the table");
  options.flag("no-trunc", whole_ids, "Print whole IDs");
  const auto names = invocation.parse(options, Order::kAnywhere);
  if (names.size() > 1) throw UsageError("name one image at most");
  if (quiet + json_wanted + format.has_value() > 1) {
    throw UsageError("--quiet, --json and --format exclude each other");
  }
  const vm::VmManager manager = invocation.manager();
  const image::ImageStore store(manager.store().data());
  std::vector<image::ImageDisk> disks = store.list();
  if (!names.empty()) keep_named(names.front(), store, disks);
  std::stable_sort(disks.begin(), disks.end(), [](const auto& a, const auto& b) {
    return seconds_of(a.meta.created) > seconds_of(b.meta.created);
  });

  if (json_wanted || (format && format->is_json())) {
    std::map<std::string, std::size_t> users;
    for (const auto& vm : manager.list()) ++users[vm.image_digest];
    print(json_of(disks, users));
  } else if (format) {
    print(format->render(template_rows(rows_of(disks), whole_ids), headings(), !no_heading));
  } else if (quiet) {
    print(ids_of(disks, whole_ids));
  } else {
    print(table_of(rows_of(disks), !no_heading, whole_ids));
  }
  return 0;
}

}  // namespace cli
