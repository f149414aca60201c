#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int healthcheck_run(Invocation& invocation) {
  Options options;
  const auto names = invocation.parse(options, Order::kAnywhere);
  if (names.size() != 1) throw UsageError("name one VM");
  const vm::VmManager manager = invocation.manager();
  if (manager.check_health(manager.find(names.front()))) return 0;
  print("unhealthy\n");
  return 1;
}

}  // namespace cli
