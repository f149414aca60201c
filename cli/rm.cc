#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int rm(Invocation& invocation) {
  bool all = false;
  bool force = false;
  bool ignore = false;
  std::optional<int> timeout_s;
  Options options;
  options.flag("all,a", all, "Every VM");
  options.flag("force,f", force, "Stop VMs that run first; one that does not exist is no error");
  options.flag("ignore,i", ignore, "A VM that does not exist is no error");
  options.value("time,t", "SECONDS",
                "With --force: how long the container may take after its stop signal",
                [&](const std::string& text) { timeout_s = parse_stop_timeout(text); });
  auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, all);
  vm::VmManager manager = invocation.manager();
  if (all) {
    for (const auto& vm : manager.list()) names.push_back(vm.id);
    for (auto& id : manager.damaged()) names.push_back(std::move(id));
  }
  return for_each_vm(
      invocation, manager, names,
      [&](const vm::VmRecord& vm, const std::string& name) {
        manager.remove(vm, force, timeout_s);
        print(name + '\n');
      },
      [&](const std::string& name) {
        if (manager.remove_damaged(name)) {
          print(name + '\n');
          return true;
        }
        return force || ignore || all;
      });
}

}  // namespace cli
