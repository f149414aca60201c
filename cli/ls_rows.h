// The three forms in which `ls` prints a VM.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "vm/vm_record.h"

namespace cli {

inline constexpr std::size_t kShortIdChars = 12;

std::string ls_table(const std::vector<vm::VmRecord>& vms, bool full_ids, bool with_heading);
// One document, keys in snake_case.
std::string ls_json(const std::vector<vm::VmRecord>& vms);

// podman's fields, and Health, IP, Mem and MonitorPid beside them. For templates lists are one text,
// as podman's are.
nlohmann::json ls_podman_rows(const std::vector<vm::VmRecord>& vms, bool full_ids,
                              bool for_template);
// The heading of each field, null where it is the field's own name.
nlohmann::json ls_podman_headings();

}  // namespace cli
