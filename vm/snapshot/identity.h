#pragma once

#include <string>
#include <string_view>

#include "vm/launch_plan.h"

namespace vm {

// What tells one VM from another inside the guest.
struct Identity {
  std::string vm_id;
  std::string vm_name;
  std::string host_name;
  std::string machine_id;
};

// Makes the plan of VM `from` (of which id and name count) one of VM `to`: host name, machine-id, and
// the files of the guest that hold them.
void change_identity(LaunchPlan& plan, const Identity& from, const Identity& to);

// A text of hosts(5) that was made for `from`, with its names in the last line, which is the one of the
// container itself, being those of `to`. Without such a line it stays as it is.
std::string replace_own_line(std::string_view hosts, const Identity& from, const Identity& to);

// `text` with `word` replaced where it stands alone: not within a longer name.
std::string replace_words(std::string_view text, std::string_view word, std::string_view by);

}  // namespace vm
