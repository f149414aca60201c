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

std::string hex_of(const std::string& digest) {
  return digest.substr(digest.find(':') + 1);
}

Json health_of(const Health& health) {
  Json log = Json::array();
  for (const auto& entry : health.log) {
    log.push_back({{"Start", time_text(entry.start_ns)},
                   {"End", time_text(entry.end_ns)},
                   {"ExitCode", entry.exit_code},
                   {"Output", entry.output}});
  }
  return {{"Status", health.status}, {"FailingStreak", health.failing_streak}, {"Log", log}};
}

Json state_of(const VmRecord& record) {
  return {{"Health", health_of(record.health)},
          {"Status", to_string(record.status)},
          {"Running", record.status == VmStatus::kRunning},
          {"Paused", record.status == VmStatus::kPaused},
          {"Restarting", record.status == VmStatus::kStarting && record.restart_count > 0},
          {"OOMKilled", record.oom_killed},
          {"Dead", false},
          {"Pid", record.vmm.pid},
          {"ConmonPid", record.monitor.pid},
          {"MonitorPid", record.monitor.pid},
          {"ExitCode", record.exit_code.value_or(0)},
          {"Error", record.error},
          {"StartedAt", time_text(record.started_ns)},
          {"FinishedAt", time_text(record.finished_ns)}};
}

// What the OCI configuration shows: what the process really got.
void add_bundle(Json& json, const Json& config) {
  const Json& process = config.at("process");
  json["Config"]["Env"] = process.at("env");
  json["Config"]["WorkingDir"] = process.at("cwd");
  json["HostConfig"]["ReadonlyRootfs"] = config.at("root").value("readonly", false);
  const Json capabilities = process.value("capabilities", Json::object());
  json["BoundingCaps"] = capabilities.value("bounding", Json::array());
  json["EffectiveCaps"] = capabilities.value("effective", Json::array());
  Json ulimits = Json::array();
  for (const Json& limit : process.value("rlimits", Json::array())) {
    ulimits.push_back(
        {{"Name", limit.at("type")}, {"Soft", limit.at("soft")}, {"Hard", limit.at("hard")}});
  }
  json["HostConfig"]["Ulimits"] = std::move(ulimits);
}

void add_plan(Json& json, const LaunchPlan& plan) {
  json["Vm"]["Kernel"] = plan.kernel;
  json["Vm"]["RestoredFrom"] = plan.restore ? plan.restore->directory : "";
  json["Vm"]["Initramfs"] = plan.initramfs;
  json["Vm"]["KernelArgs"] = plan.kernel_args;
  json["Config"]["Hostname"] = plan.boot.host_name;
  if (!plan.health.test.empty()) {
    json["Config"]["Healthcheck"] = {{"Test", plan.health.test},
                                     {"Interval", plan.health.interval.count()},
                                     {"Timeout", plan.health.timeout.count()},
                                     {"StartPeriod", plan.health.start_period.count()},
                                     {"Retries", plan.health.retries}};
  }
  json["HostConfig"]["CpusetCpus"] = plan.cpuset_cpus;
  add_bundle(json, Json::parse(plan.boot.container.config_json));
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
      {"State", state_of(record)},
      {"Image", hex_of(record.image_digest)},
      {"ImageDigest", record.image_digest},
      {"ImageName", record.image},
      {"RestartCount", record.restart_count},
      {"Driver", "overlay"},
      {"Mounts", Json::array()},
      {"LogPath", paths.log},
      {"NetworkSettings", {{"IPAddress", ""}, {"Ports", Json::object()}}},
      {"Config",
       {{"Tty", record.tty},
        {"OpenStdin", record.open_stdin},
        {"Image", record.image},
        {"Cmd", record.command},
        {"Labels", record.labels},
        {"Healthcheck", nullptr},
        {"StopSignal", record.stop_signal},
        {"StopTimeout", record.stop_timeout_s}}},
      {"HostConfig",
       {{"AutoRemove", record.auto_remove},
        {"NetworkMode", record.network},
        {"Memory", record.mem_mib << 20},
        {"CpuCount", record.cpus},
        {"LogConfig", {{"Type", "k8s-file"}, {"Path", paths.log}}},
        {"RestartPolicy",
         {{"Name", record.restart_policy}, {"MaximumRetryCount", record.restart_max}}}}},
      {"Vm",
       {{"Engine", record.engine},
        {"Hypervisor", record.hypervisor},
        {"Accel", record.accel},
        {"ConsoleLog", paths.console_log},
        {"RootDisk", paths.root_disk},
        {"Timings", record.timings_us}}},
  };
  try {
    add_plan(json, parse_launch_plan(base::read_file(paths.launch_plan)));
  } catch (const std::exception&) {
    // A VM whose files are damaged can still be looked at.
    json["Vm"]["Damaged"] = true;
  }
  return json.dump(4, ' ', false, Json::error_handler_t::replace);
}

}  // namespace vm
