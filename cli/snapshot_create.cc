#include "cli/command.h"
#include "cli/output.h"
#include "vm/snapshot/snapshot_store.h"

namespace cli {

int snapshot_create(Invocation& invocation) {
  std::string tag;
  Options options;
  options.value("tag", "TAG", "The snapshot's name", tag);
  const auto arguments = invocation.parse(options, Order::kAnywhere);
  if (arguments.size() != 1) throw UsageError("one VM has to be named");
  if (tag.empty()) throw UsageError("the snapshot needs a name: --tag TAG");
  vm::VmManager manager = invocation.manager();
  const vm::VmRecord record = manager.find(arguments.front());
  vm::SnapshotStore snapshots(manager);
  const vm::Snapshot snapshot =
      base::with_context(base::cat("saving VM ", base::quoted(record.name)),
                         [&] { return snapshots.create(record, tag); });
  print(snapshot.tag + '\n');
  print_error_text(base::cat("VM ", record.name, " stood still for ",
                             (snapshot.pause_us + 500) / 1000, " ms\n"));
  return 0;
}

}  // namespace cli
