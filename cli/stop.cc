#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int stop(Invocation& invocation) {
  bool all = false;
  bool ignore = false;
  std::optional<int> timeout_s;
  Options options;
  options.flag("all,a", all, "Every VM that runs");
  options.flag("ignore,i", ignore, "A VM that does not exist is no error");
  options.value("time,t", "SECONDS",
                "How long the container may take after its stop signal before it is killed; "
                "default: what the VM was run with",
                [&](const std::string& text) { timeout_s = parse_stop_timeout(text); });
  auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, all);
  vm::VmManager manager = invocation.manager();
  if (all) {
    for (const auto& vm : manager.list()) {
      if (vm.has_monitor()) names.push_back(vm.id);
    }
  }
  return for_each_vm(
      invocation, manager, names,
      [&](const vm::VmRecord& vm, const std::string& name) {
        manager.stop(vm, timeout_s);
        print(name + '\n');
      },
      [&](const std::string&) { return ignore || all; });
}

}  // namespace cli
