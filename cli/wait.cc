#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int wait(Invocation& invocation) {
  std::vector<std::string> conditions;
  Options options;
  options.list("condition", "CONDITION",
               "Wait for it instead: created, running, paused, exited, stopped, healthy, unhealthy",
               [&](const std::string& text) { conditions.push_back(text); });
  const auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, false);
  vm::VmManager manager = invocation.manager();
  return for_each_vm(invocation, manager, names, [&](const vm::VmRecord& vm, const std::string&) {
    print(base::cat(conditions.empty() ? manager.wait(vm) : manager.wait_until(vm, conditions),
                    "\n"));
  });
}

}  // namespace cli
