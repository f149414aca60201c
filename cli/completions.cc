#include "cli/bash_completion.h"
#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int completions(Invocation& invocation) {
  Options options;
  const auto shells = invocation.parse(options, Order::kAnywhere);
  if (shells.size() != 1) throw UsageError("name one shell: bash");
  if (shells[0] != "bash") {
    throw UsageError(base::cat("no completion for shell ", base::quoted(shells[0])));
  }
  print(kBashCompletion);
  return 0;
}

}  // namespace cli
