#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int unpause(Invocation& invocation) {
  bool all = false;
  Options options;
  options.flag("all,a", all, "Every VM that is paused");
  auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, all);
  const vm::VmManager manager = invocation.manager();
  if (all) {
    for (const auto& vm : manager.list()) {
      if (vm.status == vm::VmStatus::kPaused) names.push_back(vm.id);
    }
  }
  return for_each_vm(
      invocation, manager, names,
      [&](const vm::VmRecord& vm, const std::string& name) {
        manager.unpause(vm);
        print(name + '\n');
      },
      [&](const std::string&) { return all; });
}

}  // namespace cli
