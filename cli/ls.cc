#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/ls_filter.h"
#include "cli/output.h"
#include "vm/clock.h"

namespace cli {
namespace {

constexpr std::size_t kShortIdChars = 12;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

std::string since(std::int64_t time_ns) {
  return human_duration((vm::wall_clock_ns() - time_ns) / kNsPerSecond);
}

std::string status_text(const vm::VmRecord& vm) {
  switch (vm.status) {
    case vm::VmStatus::kRunning:
      return "Up " + since(vm.started_ns);
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

std::string table_of(const std::vector<vm::VmRecord>& vms) {
  std::vector<std::vector<std::string>> rows{
      {"NAME", "ID", "PID", "STATUS", "HEALTH", "IP", "PORTS", "IMAGE", "MEM", "AGE"}};
  for (const auto& vm : vms) {
    rows.push_back({vm.name, vm.id.substr(0, kShortIdChars), pid_text(vm), status_text(vm), "-",
                    "-", "-", vm.image, human_mib(vm.mem_mib), since(vm.created_ns)});
  }
  return render_table(rows);
}

nlohmann::json seconds_or_null(std::int64_t ns) {
  return ns == 0 ? nlohmann::json() : nlohmann::json(ns / kNsPerSecond);
}

std::string json_of(const std::vector<vm::VmRecord>& vms) {
  nlohmann::json list = nlohmann::json::array();
  for (const auto& vm : vms) {
    list.push_back({
        {"name", vm.name},
        {"id", vm.id},
        {"pid", vm.has_monitor() ? nlohmann::json(vm.monitor.pid) : nlohmann::json()},
        {"status", to_string(vm.status)},
        {"exit_code", vm.exit_code ? nlohmann::json(*vm.exit_code) : nlohmann::json()},
        {"health", nullptr},
        {"ip", nullptr},
        {"ports", nlohmann::json::array()},
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
  return list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

}  // namespace

int ls(Invocation& invocation) {
  bool all = false;
  bool quiet = false;
  bool json = false;
  VmFilter filter;
  Options options;
  options.flag("all,a", all, "Also VMs that do not run");
  options.flag("quiet,q", quiet, "Print IDs only");
  options.flag("json", json, "Print one JSON array");
  options.list("filter,f", "KEY=VALUE",
               "Only VMs that match: name, id, status, label, ancestor, exited, health",
               [&](const std::string& text) { filter.add(text); });
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  if (quiet && json) throw UsageError("--quiet and --json exclude each other");

  std::vector<vm::VmRecord> vms = invocation.manager().list();
  std::erase_if(vms, [&](const vm::VmRecord& vm) {
    return !(all || filter.wants_all() || vm.has_monitor()) || !filter.matches(vm);
  });
  if (json) {
    print(json_of(vms));
  } else if (quiet) {
    std::string ids;
    for (const auto& vm : vms) ids += vm.id.substr(0, kShortIdChars) + '\n';
    print(ids);
  } else {
    print(table_of(vms));
  }
  return 0;
}

}  // namespace cli
