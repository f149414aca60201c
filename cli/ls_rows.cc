#include "cli/ls_rows.h"

#include <nlohmann/json.hpp>

#include "cli/output.h"
#include "cli/template.h"
#include "vm/clock.h"
#include "vm/monitor/log_file.h"

namespace cli {
namespace {

using Json = nlohmann::json;

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
// What podman prints for a time that has not come: Go's zero time in seconds since the epoch.
constexpr std::int64_t kGoZeroTime = -62135596800;

std::string since(std::int64_t time_ns) {
  return human_duration((vm::wall_clock_ns() - time_ns) / kNsPerSecond);
}

std::string status_text(const vm::VmRecord& vm) {
  switch (vm.status) {
    case vm::VmStatus::kRunning:
      return base::cat("Up ", since(vm.started_ns), " ago",
                       vm.health.status.empty() ? "" : " (" + vm.health.status + ")");
    case vm::VmStatus::kPaused:
      return "Paused";
    case vm::VmStatus::kExited:
      return base::cat("Exited (", vm.exit_code.value_or(0), ") ", since(vm.finished_ns), " ago");
    case vm::VmStatus::kCreated:
      return "Created";
    case vm::VmStatus::kStarting:
      return "Starting";
    case vm::VmStatus::kStopping:
      return "Stopping";
    case vm::VmStatus::kCreating:
    case vm::VmStatus::kRemoving:
      break;
  }
  return std::string(to_string(vm.status));
}

std::string pid_text(const vm::VmRecord& vm) {
  return vm.has_monitor() ? std::to_string(vm.monitor.pid) : "-";
}

std::string or_dash(const std::string& text) {
  return text.empty() ? "-" : text;
}

std::string id_of(const vm::VmRecord& vm, bool full) {
  return full ? vm.id : vm.id.substr(0, kShortIdChars);
}

Json seconds_or_null(std::int64_t ns) {
  return ns == 0 ? Json() : Json(ns / kNsPerSecond);
}

std::int64_t go_seconds(std::int64_t ns) {
  return ns == 0 ? kGoZeroTime : ns / kNsPerSecond;
}

std::string image_id(const std::string& digest, bool full) {
  const auto colon = digest.find(':');
  const std::string hex = colon == std::string::npos ? digest : digest.substr(colon + 1);
  return full ? hex : hex.substr(0, kShortIdChars);
}

std::string spaced(const std::vector<std::string>& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

}  // namespace

std::string ls_table(const std::vector<vm::VmRecord>& vms, bool full_ids, bool with_heading) {
  std::vector<std::vector<std::string>> rows;
  if (with_heading) {
    rows.push_back({"NAME", "ID", "PID", "STATUS", "HEALTH", "IP", "PORTS", "IMAGE", "MEM", "AGE"});
  }
  for (const auto& vm : vms) {
    rows.push_back({vm.name, id_of(vm, full_ids), pid_text(vm), status_text(vm),
                    or_dash(vm.health.status), "-", "-", vm.image, human_mib(vm.mem_mib),
                    since(vm.created_ns)});
  }
  return render_table(rows);
}

std::string ls_json(const std::vector<vm::VmRecord>& vms) {
  Json list = Json::array();
  for (const auto& vm : vms) {
    list.push_back({
        {"name", vm.name},
        {"id", vm.id},
        {"pid", vm.has_monitor() ? Json(vm.monitor.pid) : Json()},
        {"status", to_string(vm.status)},
        {"exit_code", vm.exit_code ? Json(*vm.exit_code) : Json()},
        {"health", vm.health.status.empty() ? Json() : Json(vm.health.status)},
        {"ip", nullptr},
        {"ports", Json::array()},
        {"image", vm.image},
        {"image_digest", vm.image_digest},
        {"command", vm.command},
        {"labels", vm.labels},
        {"network", vm.network},
        {"cpus", vm.cpus},
        {"mem_mib", vm.mem_mib},
        {"created", seconds_or_null(vm.created_ns)},
        {"started", seconds_or_null(vm.started_ns)},
        {"finished", seconds_or_null(vm.finished_ns)},
    });
  }
  return list.dump(2, ' ', false, Json::error_handler_t::replace) + '\n';
}

Json ls_podman_rows(const std::vector<vm::VmRecord>& vms, bool full_ids, bool for_template) {
  Json rows = Json::array();
  for (const auto& vm : vms) {
    const std::string age = since(vm.created_ns) + " ago";
    Json row{{"AutoRemove", vm.auto_remove},
             {"Exited", vm.status == vm::VmStatus::kExited},
             {"ExitedAt", go_seconds(vm.finished_ns)},
             {"ExitCode", vm.exit_code.value_or(0)},
             {"Health", vm.health.status},
             {"IP", ""},
             {"Image", vm.image},
             {"ImageID", image_id(vm.image_digest, full_ids || !for_template)},
             {"Labels", vm.labels},
             {"Mem", human_mib(vm.mem_mib)},
             {"MonitorPid", vm.has_monitor() ? vm.monitor.pid : 0},
             {"Pid", vm.vmm.pid},
             {"StartedAt", go_seconds(vm.started_ns)},
             {"Status", status_text(vm)}};
    if (for_template) {
      const Json created = template_time(vm::rfc3339_nano(vm.created_ns));
      row.update(Json{{"Command", spaced(vm.command)},
                      {"CreatedHuman", age},
                      {"ID", id_of(vm, full_ids)},
                      {"Mounts", ""},
                      {"Names", vm.name},
                      {"Networks", ""},
                      {"Ports", ""},
                      {"RunningFor", age},
                      {"State", status_text(vm)}});  // podman's template has it so
      row["Created"] = created;
      row["CreatedAt"] = created;
    } else {
      row.update(Json{{"Command", vm.command},
                      {"Created", go_seconds(vm.created_ns)},
                      {"CreatedAt", age},
                      {"Id", vm.id},
                      {"Mounts", Json::array()},
                      {"Names", std::vector<std::string>{vm.name}},
                      {"Networks", Json::array()},
                      {"Ports", nullptr},
                      {"State", to_string(vm.status)}});
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

Json ls_podman_headings() {
  Json headings{
      {"ID", "CONTAINER ID"}, {"ImageID", "IMAGE ID"}, {"IP", "IP"}, {"CreatedHuman", "CREATED"}};
  for (const char* field :
       {"AutoRemove", "Command", "Created", "CreatedAt", "CreatedHuman", "ExitCode", "Exited",
        "ExitedAt",   "Health",  "Image",   "Labels",    "Mem",          "Mounts",   "Names",
        "Networks",   "Pid",     "Ports",   "StartedAt", "State",        "Status"}) {
    headings[field] = nullptr;
  }
  return headings;
}

}  // namespace cli
