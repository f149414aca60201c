#include <nlohmann/json.hpp>

#include "base/log.h"
#include "cli/command.h"
#include "cli/image_flags.h"
#include "cli/output.h"
#include "vm/clock.h"
#include "vm/monitor/log_file.h"
#include "vm/snapshot/snapshot_store.h"

namespace cli {
namespace {

using Json = nlohmann::json;

Json names_of(const std::vector<vm::VmRecord>& clones) {
  Json names = Json::array();
  for (const auto& clone : clones) names.push_back(clone.name);
  return names;
}

Json json_of(const vm::SnapshotStore& snapshots, const vm::Snapshot& snapshot,
             const vm::SnapshotSizes& sizes) {
  return {{"tag", snapshot.tag},
          {"created", vm::rfc3339_nano(snapshot.created_ns)},
          {"vm", snapshot.vm.name},
          {"vm_id", snapshot.vm.id},
          {"parent", snapshot.parent},
          {"hypervisor", snapshot.vm.hypervisor},
          {"image", snapshot.vm.image},
          {"memory_bytes", sizes.memory_bytes},
          {"shared_bytes", sizes.shared_bytes},
          {"exclusive_bytes", sizes.exclusive_bytes},
          {"pause_us", snapshot.pause_us},
          {"servers", Json::array()},
          {"clones", names_of(snapshots.clones(snapshot.tag))}};
}

std::string dump(const Json& json) {
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

}  // namespace

int snapshot_ls(Invocation& invocation) {
  bool json = false;
  bool quiet = false;
  Options options;
  options.flag("json", json, "Print one JSON array");
  options.flag("quiet,q", quiet, "Print tags only");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  if (json && quiet) throw UsageError("--json and --quiet exclude each other");
  vm::VmManager manager = invocation.manager();
  const vm::SnapshotStore snapshots(manager);
  Json array = Json::array();
  std::string tags;
  std::vector<std::vector<std::string>> table{
      {"TAG", "CREATED", "VM", "IMAGE", "MEMORY", "SHARED", "EXCLUSIVE", "CLONES"}};
  const vm::SnapshotList list = snapshots.list();
  for (const auto& [snapshot, sizes] : list.snapshots) {
    tags += snapshot.tag + '\n';
    if (quiet) continue;
    if (json) {
      array.push_back(json_of(snapshots, snapshot, sizes));
      continue;
    }
    const std::int64_t age_s = (vm::wall_clock_ns() - snapshot.created_ns) / 1'000'000'000;
    table.push_back({snapshot.tag, human_duration(age_s) + " ago", snapshot.vm.name,
                     snapshot.vm.image, human_mib(snapshot.vm.mem_mib),
                     human_bytes(sizes.shared_bytes), human_bytes(sizes.exclusive_bytes),
                     std::to_string(snapshots.clones(snapshot.tag).size())});
  }
  for (const auto& [tag, reason] : list.damaged) {
    tags += tag + '\n';
    array.push_back({{"tag", tag}, {"damaged", reason}});
    table.push_back({tag, "damaged", "-", "-", "-", "-", "-", "-"});
    if (!quiet && !json) base::log_warn(reason);
  }
  print(json ? dump(array) : quiet ? tags : render_table(table));
  return 0;
}

int snapshot_inspect(Invocation& invocation) {
  Options options;
  const auto tags = invocation.parse(options, Order::kAnywhere);
  if (tags.empty()) throw UsageError("name at least one snapshot");
  vm::VmManager manager = invocation.manager();
  const vm::SnapshotStore snapshots(manager);
  Json array = Json::array();
  for (const auto& tag : tags) {
    const vm::OpenSnapshot open = snapshots.open(tag);
    const vm::Snapshot& snapshot = open.snapshot;
    Json json = json_of(snapshots, snapshot, snapshots.sizes(snapshot));
    json["directory"] = open.directory;
    json["requirements"] = snapshot.requirements;
    json["kernel_digest"] = snapshot.kernel_digest;
    json["image_digest"] = snapshot.vm.image_digest;
    json["devices"] = snapshot.devices;
    json["cpus"] = snapshot.vm.cpus;
    for (const auto& file : snapshot.files) {
      json["files"][file.name] = {{"bytes", file.bytes}, {"digest", file.digest}};
    }
    array.push_back(std::move(json));
  }
  print(dump(array));
  return 0;
}

}  // namespace cli
