// Completion scripts made of the commands' own tables, so that they cannot disagree with --help.
#pragma once

#include <string>
#include <vector>

#include "cli/options.h"

namespace cli {

struct CompletedCommand {
  std::string name;  // "podman run"; empty: fcvm itself
  std::string summary;
  bool takes_vms = false;
  std::vector<OptionDescription> options;
};

std::string zsh_completion(const std::vector<CompletedCommand>& commands);
std::string fish_completion(const std::vector<CompletedCommand>& commands);

}  // namespace cli
