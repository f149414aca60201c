// Looking at the machine as it is now: what fcvm can do on it, what it cannot, and what to do about it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vm {

enum class CheckStatus {
  kOk,
  kDegraded,  // something is lost, or this version makes no use of what is there
  kMissing,
};
std::string_view to_string(CheckStatus status);

struct Check {
  std::string name;
  CheckStatus status = CheckStatus::kOk;
  std::string found;  // what was found, one line
  std::string cost;   // what is lost by it; empty when nothing is
  std::string fix;    // the command that mends it, or what else does; empty where there is nothing
  bool prevents_run = false;  // `podman run` cannot work as it is
};

struct Diagnosis {
  std::vector<Check> checks;
  bool can_run() const;
};

// Looks at everything; starts QEMU and a few helper programs for a moment, boots nothing. Takes
// about a second, most of it for reading the kernel. Does not throw for what it finds.
Diagnosis examine(const std::string& data_dir);

}  // namespace vm
