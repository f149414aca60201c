#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vm/vm_record.h"

namespace cli {

// --filter KEY=VALUE as podman has it: filters of one key are alternatives, different keys must all
// hold. Keys: name (a regular expression), id (a prefix), status, label (KEY or KEY=VALUE), ancestor
// (the image as it was named, or its digest), exited (an exit code), health.
class VmFilter {
 public:
  // Throws base::Error.
  void add(std::string_view text);
  bool matches(const vm::VmRecord& vm) const;
  // A status was asked for: VMs that do not run are looked at without --all too.
  bool wants_all() const { return filters_.contains("status") || filters_.contains("exited"); }

 private:
  std::map<std::string, std::vector<std::string>> filters_;
};

}  // namespace cli
