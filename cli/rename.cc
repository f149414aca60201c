#include "cli/command.h"
#include "vm/flag_parsers.h"

namespace cli {

int rename(Invocation& invocation) {
  Options options;
  const auto arguments = invocation.parse(options, Order::kAnywhere);
  if (arguments.size() != 2) throw UsageError("give a VM and its new NAME");
  std::string name;
  try {
    name = vm::parse_name(arguments[1]);
  } catch (const base::Error& error) {
    throw UsageError(error);
  }
  vm::VmManager manager = invocation.manager();
  manager.rename(manager.find(arguments[0]), name);
  return 0;
}

}  // namespace cli
