#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int inspect(Invocation& invocation) {
  Options options;
  const auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, false);
  vm::VmManager manager = invocation.manager();
  std::string documents;
  const int status =
      for_each_vm(invocation, manager, names, [&](const vm::VmRecord& vm, const std::string&) {
        documents += base::cat(documents.empty() ? "" : ",\n", manager.inspect(vm));
      });
  if (!documents.empty()) print(base::cat("[\n", documents, "\n]\n"));
  return status;
}

}  // namespace cli
