#include <csignal>

#include "cli/command.h"
#include "cli/output.h"
#include "vm/flag_parsers.h"

namespace cli {

int kill(Invocation& invocation) {
  bool all = false;
  int signal = SIGKILL;
  Options options;
  options.flag("all,a", all, "Every VM that runs");
  options.value("signal,s", "SIGNAL", "Name or number; default KILL",
                [&](const std::string& text) { signal = vm::parse_signal(text); });
  auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, all);
  vm::VmManager manager = invocation.manager();
  if (all) {
    for (const auto& vm : manager.list()) {
      if (vm.status == vm::VmStatus::kRunning) names.push_back(vm.id);
    }
  }
  return for_each_vm(
      invocation, manager, names,
      [&](const vm::VmRecord& vm, const std::string& name) {
        manager.kill(vm, signal);
        print(name + '\n');
      },
      [&](const std::string&) { return all; });
}

}  // namespace cli
