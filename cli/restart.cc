#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int restart(Invocation& invocation) {
  bool all = false;
  bool running = false;
  std::optional<int> timeout_s;
  Options options;
  options.flag("all,a", all, "Every VM, whether it runs or not");
  options.flag("running", running, "Every VM that runs");
  options.value("time,t", "SECONDS",
                "How long the container may take after its stop signal before it is killed; "
                "default: what the VM was run with",
                [&](const std::string& text) { timeout_s = parse_stop_timeout(text); });
  auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, all || running);
  vm::VmManager manager = invocation.manager();
  if (all || running) {
    for (const auto& vm : manager.list()) {
      if (all || vm.has_monitor()) names.push_back(vm.id);
    }
  }
  return for_each_vm(invocation, manager, names,
                     [&](const vm::VmRecord& vm, const std::string& name) {
                       manager.restart(vm, timeout_s);
                       print(name + '\n');
                     });
}

}  // namespace cli
