#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int system_reconcile(Invocation& invocation) {
  bool json = false;
  Options options;
  options.flag("json", json, "Print one JSON array");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  // Not by a manager: that would have done it before anything could be printed.
  const vm::VmStore store{storage::open_data_directory(invocation.settings.data_dir)};
  const std::vector<std::string> done = vm::reconcile(store);
  if (json) {
    print(nlohmann::json(done).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
          '\n');
    return 0;
  }
  for (const auto& line : done) print(line + '\n');
  return 0;
}

}  // namespace cli
