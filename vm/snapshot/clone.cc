// Making a VM that begins where a snapshot was made: the same container, another identity.
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/rollback.h"
#include "storage/reflink.h"
#include "vm/clock.h"
#include "vm/guest_paths.h"
#include "vm/launch_plan.h"
#include "vm/snapshot/identity.h"
#include "vm/snapshot/saved_files.h"
#include "vm/snapshot/snapshot_store.h"

namespace vm {
namespace {

constexpr std::size_t kShortIdChars = 12;

VmRecord clone_record(const Snapshot& snapshot, const CloneOptions& options) {
  VmRecord record;
  const VmRecord& parent = snapshot.vm;
  record.id = random_hex(64);
  record.name = options.name;
  record.created_ns = wall_clock_ns();
  record.creator = base::identify_process(::getpid()).value();
  record.snapshot = snapshot.tag;
  record.image = parent.image;
  record.image_digest = parent.image_digest;
  record.command = parent.command;
  record.labels = parent.labels;
  record.engine = parent.engine;
  record.hypervisor = parent.hypervisor;
  record.accel = parent.accel;
  record.network = parent.network;
  record.cpus = parent.cpus;
  record.mem_mib = parent.mem_mib;
  record.tty = parent.tty;
  record.open_stdin = parent.open_stdin;
  record.auto_remove = options.remove;
  record.stop_signal = parent.stop_signal;
  record.stop_timeout_s = parent.stop_timeout_s;
  return record;
}

void change_podman_arguments(std::vector<std::string>& arguments, const Identity& to) {
  // Up to the image: what follows is the container's own command.
  for (std::size_t i = 1; i < arguments.size() && arguments[i].starts_with("--"); ++i) {
    if (arguments[i].starts_with("--hostname=")) arguments[i] = "--hostname=" + to.host_name;
    if (arguments[i].starts_with("--name=")) arguments[i] = "--name=" + to.vm_name;
  }
}

}  // namespace

std::string replace_words(std::string_view text, std::string_view word, std::string_view by) {
  const auto is_part = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  std::string out;
  std::size_t from = 0;
  while (!word.empty()) {
    const std::size_t at = text.find(word, from);
    if (at == std::string_view::npos) break;
    const std::size_t end = at + word.size();
    const bool whole =
        (at == 0 || !is_part(text[at - 1])) && (end == text.size() || !is_part(text[end]));
    out += text.substr(from, at - from);
    out += whole ? by : word;
    from = end;
  }
  return out.append(text.substr(from));
}

std::string replace_own_line(std::string_view hosts, const Identity& from, const Identity& to) {
  const std::size_t end = hosts.ends_with('\n') ? hosts.size() - 1 : hosts.size();
  const std::size_t newline = end == 0 ? std::string_view::npos : hosts.rfind('\n', end - 1);
  const std::size_t begin = newline == std::string_view::npos ? 0 : newline + 1;
  std::istringstream fields{std::string(hosts.substr(begin, end - begin))};
  std::string address;
  std::string name;
  fields >> address >> name;
  if (name == "localhost" || (name != from.host_name && name != from.vm_name)) {
    return std::string(hosts);
  }
  return base::cat(hosts.substr(0, begin), address, "\t", to.host_name, " ", to.vm_name, "\n");
}

void change_identity(LaunchPlan& plan, const Identity& from, const Identity& to) {
  wire::BootPlan& boot = plan.boot;
  const std::string old_host = boot.host_name;
  boot.host_name = to.host_name;
  boot.machine_id = to.machine_id;
  boot.container.id = to.vm_id;
  for (auto& file : boot.files) {
    if (file.path == kGuestHostsFile) {
      file.content = replace_own_line(file.content, {"", from.vm_name, old_host, ""}, to);
    }
    if (file.path != kGuestHostnameFile && file.path != kGuestContainerenvFile) continue;
    // The whole ID first: its beginning is a host name mostly.
    file.content = replace_words(file.content, from.vm_id, to.vm_id);
    file.content = replace_words(file.content, old_host, to.host_name);
    if (from.vm_name != old_host) {
      file.content = replace_words(file.content, from.vm_name, to.vm_name);
    }
  }
  change_podman_arguments(boot.container.podman, to);
  auto config = nlohmann::json::parse(boot.container.config_json);
  config["hostname"] = to.host_name;
  for (auto& entry : config["process"]["env"]) {
    if (entry == "HOSTNAME=" + old_host) entry = "HOSTNAME=" + to.host_name;
  }
  boot.container.config_json =
      config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

VmRecord SnapshotStore::make_clone(const OpenSnapshot& open, const CloneOptions& options) {
  const Snapshot& snapshot = open.snapshot;
  VmRecord record = manager_.reserve(clone_record(snapshot, options));
  const VmPaths paths = manager_.store().paths(record.id);
  base::Rollback rollback;
  rollback.push(
      [&] { manager_.store().destroy(manager_.store().records().lock_record(record.id), record); });
  base::fault_point("clone.record");

  LaunchPlan plan = parse_launch_plan(base::read_file(open.path(kSnapshotPlanFile)));
  change_identity(plan, {snapshot.vm.id, snapshot.vm.name, "", ""},
                  {record.id, record.name, record.id.substr(0, kShortIdChars), random_hex(32)});
  for (auto& disk : plan.disks) {
    if (disk.id == "root") disk.path = paths.root_disk;
  }
  plan.restore =
      RestorePlan{open.directory, snapshot.link_epoch + 1, stamps_of_saved_machine(open.directory)};

  base::make_directories(paths.disks, 0700);
  storage::reflink_or_copy(open.path(kSnapshotDiskFile), paths.root_disk);
  base::fault_point("clone.disk");
  base::write_file(paths.exec_base, base::read_file(open.path(kSnapshotExecFile)));
  base::write_file(paths.launch_plan, to_json(plan));
  base::fault_point("clone.plan");
  rollback.commit();
  return record;
}

}  // namespace vm
