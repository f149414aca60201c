#include "cli/bash_completion.h"
#include "cli/command.h"
#include "cli/completion_scripts.h"
#include "cli/output.h"

namespace cli {
namespace {

std::vector<CompletedCommand> completed_commands() {
  std::vector<CompletedCommand> list;
  list.emplace_back();
  Options global;
  SettingFlags flags;
  bool version = false;
  declare_settings(global, flags);
  global.flag("version,v", version, "Print the version and exit");
  list.back().options = global.describe();
  for (const auto& command : commands()) {
    list.emplace_back();
    CompletedCommand& entry = list.back();
    entry.name = command.name;
    entry.summary = command.summary;
    entry.takes_vms = command.arguments.find("VM") != std::string_view::npos;
    Invocation invocation;
    invocation.command = &command;
    invocation.described = &entry.options;
    try {
      command.run(invocation);
    } catch (const HelpShown&) {
    }
  }
  return list;
}

}  // namespace

int completions(Invocation& invocation) {
  Options options;
  const auto shells = invocation.parse(options, Order::kAnywhere);
  if (shells.size() != 1) throw UsageError("name one shell: bash, zsh or fish");
  if (shells[0] == "bash") {
    print(kBashCompletion);
  } else if (shells[0] == "zsh") {
    print(zsh_completion(completed_commands()));
  } else if (shells[0] == "fish") {
    print(fish_completion(completed_commands()));
  } else {
    throw UsageError(base::cat("no completion for shell ", base::quoted(shells[0])));
  }
  return 0;
}

}  // namespace cli
