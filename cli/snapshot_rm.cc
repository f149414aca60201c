#include "cli/command.h"
#include "cli/output.h"
#include "vm/snapshot/snapshot_store.h"

namespace cli {

int snapshot_rm(Invocation& invocation) {
  Options options;
  const auto tags = invocation.parse(options, Order::kAnywhere);
  if (tags.empty()) throw UsageError("name at least one snapshot");
  vm::VmManager manager = invocation.manager();
  vm::SnapshotStore snapshots(manager);
  int status = 0;
  for (const auto& tag : tags) {
    try {
      snapshots.remove(tag);
      print(tag + '\n');
    } catch (const base::Error& error) {
      print_error(invocation.command->name, error);
      status = kFailed;
    }
  }
  return status;
}

}  // namespace cli
