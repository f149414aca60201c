// The monitor's part in health checks: what is checked, and who asks.
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "vm/bundle.h"
#include "vm/monitor/monitor.h"

namespace vm {

void Monitor::begin_health() {
  if (plan_.health.test.empty()) return;
  HealthMonitor::Hooks hooks;
  hooks.open_process = [this](const wire::ProcessStart& start) {
    return guest_->open_process(start);
  };
  hooks.can_check = [this] { return record_.status == VmStatus::kRunning; };
  hooks.on_change = [this] { save(); };
  try {
    ExecOptions exec;
    exec.command = health_command(plan_.health);
    std::string process = make_exec_process(base::read_file(paths_.exec_base), exec);
    health_ = std::make_unique<HealthMonitor>(loop_, plan_.health, std::move(process),
                                              record_.health, std::move(hooks));
  } catch (const base::Error& error) {
    base::log_error(base::cat("health checks: ", error.what()));
  }
}

void Monitor::check_health(const Reply& reply) {
  MonitorReply answer;
  if (!health_ || record_.status != VmStatus::kRunning) {
    answer.ok = false;
    answer.error = record_.status != VmStatus::kRunning
                       ? base::cat("it is ", to_string(record_.status), ", not running")
                       : "it has no health check";
    reply(to_json(answer));
    return;
  }
  health_->check([reply](bool passed) {
    MonitorReply result;
    result.exit_code = passed ? 0 : 1;
    reply(to_json(result));
  });
}

}  // namespace vm
