#include "vm/vm_record.h"

#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace vm {
namespace {

using Json = nlohmann::json;

constexpr std::array<std::pair<VmStatus, std::string_view>, 8> kStatusNames{{
    {VmStatus::kCreating, "creating"},
    {VmStatus::kCreated, "created"},
    {VmStatus::kStarting, "starting"},
    {VmStatus::kRunning, "running"},
    {VmStatus::kPaused, "paused"},
    {VmStatus::kStopping, "stopping"},
    {VmStatus::kExited, "exited"},
    {VmStatus::kRemoving, "removing"},
}};

VmStatus parse_status(const std::string& name) {
  for (const auto& [status, known] : kStatusNames) {
    if (known == name) return status;
  }
  throw base::Error(base::cat("unknown status ", base::quoted(name)));
}

Json process_to_json(const base::ProcessId& id) {
  if (id.pid == 0) return nullptr;
  return {{"pid", id.pid}, {"start_time_ticks", id.start_time_ticks}, {"boot_id", id.boot_id}};
}

base::ProcessId process_from_json(const Json& json) {
  if (json.is_null()) return {};
  return {json.at("pid").get<pid_t>(), json.at("start_time_ticks").get<std::uint64_t>(),
          json.at("boot_id").get<std::string>()};
}

Json health_to_json(const Health& health) {
  Json log = Json::array();
  for (const auto& entry : health.log) {
    log.push_back({{"start_ns", entry.start_ns},
                   {"end_ns", entry.end_ns},
                   {"exit_code", entry.exit_code},
                   {"output", entry.output}});
  }
  return {{"status", health.status}, {"failing_streak", health.failing_streak}, {"log", log}};
}

Health health_from_json(const Json& json) {
  Health health;
  json.at("status").get_to(health.status);
  json.at("failing_streak").get_to(health.failing_streak);
  for (const Json& entry : json.at("log")) {
    health.log.push_back({entry.at("start_ns").get<std::int64_t>(),
                          entry.at("end_ns").get<std::int64_t>(), entry.at("exit_code").get<int>(),
                          entry.at("output").get<std::string>()});
  }
  return health;
}

}  // namespace

std::string_view to_string(VmStatus status) {
  for (const auto& [known, name] : kStatusNames) {
    if (known == status) return name;
  }
  return "unknown";
}

std::string to_json(const VmRecord& record) {
  Json json{
      {"id", record.id},
      {"name", record.name},
      {"status", to_string(record.status)},
      {"created_ns", record.created_ns},
      {"started_ns", record.started_ns},
      {"finished_ns", record.finished_ns},
      {"exit_code", record.exit_code ? Json(*record.exit_code) : Json(nullptr)},
      {"oom_killed", record.oom_killed},
      {"error", record.error},
      {"creator", process_to_json(record.creator)},
      {"monitor", process_to_json(record.monitor)},
      {"vmm", process_to_json(record.vmm)},
      {"snapshot", record.snapshot},
      {"runs_on_snapshot", record.runs_on_snapshot},
      {"restore_begun", record.restore_begun},
      {"image", record.image},
      {"image_digest", record.image_digest},
      {"command", record.command},
      {"labels", record.labels},
      {"engine", record.engine},
      {"hypervisor", record.hypervisor},
      {"accel", record.accel},
      {"network", record.network},
      {"cpus", record.cpus},
      {"mem_mib", record.mem_mib},
      {"tty", record.tty},
      {"open_stdin", record.open_stdin},
      {"auto_remove", record.auto_remove},
      {"stop_signal", record.stop_signal},
      {"stop_timeout_s", record.stop_timeout_s},
      {"restart_policy", record.restart_policy},
      {"restart_max", record.restart_max},
      {"restart_count", record.restart_count},
      {"health", health_to_json(record.health)},
      {"timings_us", record.timings_us},
  };
  // What a user typed may not be UTF-8; a record that cannot be written would be worse.
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

VmRecord parse_vm_record(std::string_view text) {
  const Json json = base::parse_json(text);
  VmRecord record;
  try {
    json.at("id").get_to(record.id);
    json.at("name").get_to(record.name);
    record.status = parse_status(json.at("status").get<std::string>());
    json.at("created_ns").get_to(record.created_ns);
    json.at("started_ns").get_to(record.started_ns);
    json.at("finished_ns").get_to(record.finished_ns);
    if (!json.at("exit_code").is_null()) record.exit_code = json.at("exit_code").get<int>();
    json.at("oom_killed").get_to(record.oom_killed);
    json.at("error").get_to(record.error);
    record.creator = process_from_json(json.at("creator"));
    record.monitor = process_from_json(json.at("monitor"));
    record.vmm = process_from_json(json.at("vmm"));
    record.snapshot = json.value("snapshot", record.snapshot);  // older records have none
    record.runs_on_snapshot = json.value("runs_on_snapshot", false);
    record.restore_begun = json.value("restore_begun", false);
    json.at("image").get_to(record.image);
    json.at("image_digest").get_to(record.image_digest);
    json.at("command").get_to(record.command);
    json.at("labels").get_to(record.labels);
    record.engine = json.value("engine", record.engine);  // older records have none: crun
    json.at("hypervisor").get_to(record.hypervisor);
    json.at("accel").get_to(record.accel);
    json.at("network").get_to(record.network);
    json.at("cpus").get_to(record.cpus);
    json.at("mem_mib").get_to(record.mem_mib);
    json.at("tty").get_to(record.tty);
    json.at("open_stdin").get_to(record.open_stdin);
    json.at("auto_remove").get_to(record.auto_remove);
    json.at("stop_signal").get_to(record.stop_signal);
    json.at("stop_timeout_s").get_to(record.stop_timeout_s);
    // Absent in records of older versions.
    record.restart_policy = json.value("restart_policy", std::string());
    record.restart_max = json.value("restart_max", 0);
    record.restart_count = json.value("restart_count", 0);
    if (json.contains("health")) record.health = health_from_json(json.at("health"));
    json.at("timings_us").get_to(record.timings_us);
  } catch (const Json::exception& error) {
    throw base::Error(base::cat("reading a VM's record: ", error.what()));
  }
  return record;
}

}  // namespace vm
