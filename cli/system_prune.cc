#include <iostream>

#include "cli/command.h"
#include "cli/output.h"
#include "vm/disk_usage.h"

namespace cli {
namespace {

// As podman asks: whatever does not begin with a y is a no.
bool user_agrees() {
  print(
      "WARNING! This command removes all VMs that do not run, with their disks.\n"
      "Are you sure you want to continue? [y/N] ");
  std::string answer;
  std::getline(std::cin, answer);
  return !answer.empty() && (answer.front() == 'y' || answer.front() == 'Y');
}

}  // namespace

int system_prune(Invocation& invocation) {
  bool force = false;
  Options options;
  options.flag("force,f", force, "Do not ask");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  if (!force && !user_agrees()) return 0;
  vm::VmManager manager = invocation.manager();
  int status = 0;
  std::uint64_t bytes = 0;
  std::string removed;
  for (const auto& vm : manager.list()) {
    if (vm.has_monitor()) continue;
    try {
      const std::uint64_t size = vm::vm_bytes(manager.store(), vm);
      manager.remove(vm, false, std::nullopt);
      removed += vm.id + '\n';
      bytes += size;
    } catch (const base::Error& error) {
      print_error(invocation.command->name, error);
      status = kFailed;
    }
  }
  if (!removed.empty()) print("Deleted Containers\n" + removed);
  print(base::cat("Total reclaimed space: ", human_size(bytes), "\n"));
  return status;
}

}  // namespace cli
