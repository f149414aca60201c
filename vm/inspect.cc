// The `inspect` document: the record and what is beside it, under podman's keys where it has them.
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "vm/launch_plan.h"
#include "vm/monitor/log_file.h"
#include "vm/vm_manager.h"

namespace vm {
namespace {

using Json = nlohmann::json;

// podman prints the zero time for what has not happened.
std::string time_text(std::int64_t ns) {
  return ns == 0 ? "0001-01-01T00:00:00Z" : rfc3339_nano(ns);
}

}  // namespace

std::string VmManager::inspect(const VmRecord& record) const {
  const VmPaths paths = store_.paths(record.id);
  Json json{
      {"Id", record.id},
      {"Name", record.name},
      {"Created", time_text(record.created_ns)},
      {"Path", record.command.empty() ? "" : record.command.front()},
      {"Args", record.command.empty()
                   ? std::vector<std::string>()
                   : std::vector<std::string>(record.command.begin() + 1, record.command.end())},
      {"State",
       {{"Status", to_string(record.status)},
        {"Running", record.status == VmStatus::kRunning},
        {"Paused", false},
        {"OOMKilled", record.oom_killed},
        {"Pid", record.vmm.pid},
        {"MonitorPid", record.monitor.pid},
        {"ExitCode", record.exit_code.value_or(0)},
        {"Error", record.error},
        {"StartedAt", time_text(record.started_ns)},
        {"FinishedAt", time_text(record.finished_ns)}}},
      {"Image", record.image_digest},
      {"ImageName", record.image},
      {"LogPath", paths.log},
      {"Config",
       {{"Tty", record.tty},
        {"OpenStdin", record.open_stdin},
        {"Cmd", record.command},
        {"Labels", record.labels},
        {"StopSignal", record.stop_signal},
        {"StopTimeout", record.stop_timeout_s}}},
      {"HostConfig",
       {{"AutoRemove", record.auto_remove},
        {"NetworkMode", record.network},
        {"Memory", record.mem_mib << 20},
        {"CpuCount", record.cpus}}},
      {"Vm",
       {{"Hypervisor", record.hypervisor},
        {"Accel", record.accel},
        {"ConsoleLog", paths.console_log},
        {"RootDisk", paths.root_disk},
        {"Timings", record.timings_us}}},
  };
  try {
    const LaunchPlan plan = parse_launch_plan(base::read_file(paths.launch_plan));
    json["Vm"]["Kernel"] = plan.kernel;
    json["Vm"]["Initramfs"] = plan.initramfs;
    json["Config"]["Hostname"] = plan.boot.host_name;
    // The OCI configuration shows what the process really got.
    const Json config = Json::parse(plan.boot.container.config_json);
    json["Config"]["Env"] = config.at("process").at("env");
    json["Config"]["WorkingDir"] = config.at("process").at("cwd");
  } catch (const std::exception&) {
    // A VM whose files are damaged can still be looked at.
    json["Vm"]["Damaged"] = true;
  }
  return json.dump(4, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vm
