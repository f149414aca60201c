#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int wait(Invocation& invocation) {
  Options options;
  const auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, false);
  vm::VmManager manager = invocation.manager();
  return for_each_vm(invocation, manager, names, [&](const vm::VmRecord& vm, const std::string&) {
    print(base::cat(manager.wait(vm), "\n"));
  });
}

}  // namespace cli
