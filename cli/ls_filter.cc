#include "cli/ls_filter.h"

#include <algorithm>
#include <array>
#include <regex>

#include "base/error.h"

namespace cli {
namespace {

constexpr std::array<std::string_view, 7> kKeys{"ancestor", "exited", "health", "id",
                                                "label",    "name",   "status"};
constexpr std::array kStatuses{vm::VmStatus::kCreated,  vm::VmStatus::kStarting,
                               vm::VmStatus::kRunning,  vm::VmStatus::kPaused,
                               vm::VmStatus::kStopping, vm::VmStatus::kExited};

std::regex name_pattern(const std::string& text) {
  try {
    return std::regex(text, std::regex::extended);
  } catch (const std::regex_error&) {
    throw base::Error(base::cat("invalid regular expression ", base::quoted(text)));
  }
}

bool label_matches(const vm::VmRecord& vm, const std::string& text) {
  const auto equals = text.find('=');
  const auto label = vm.labels.find(text.substr(0, equals));
  if (label == vm.labels.end()) return false;
  return equals == std::string::npos || label->second == text.substr(equals + 1);
}

bool one_matches(const vm::VmRecord& vm, const std::string& key, const std::string& value) {
  if (key == "name") return std::regex_search(vm.name, name_pattern(value));
  if (key == "id") return vm.id.starts_with(value);
  if (key == "status") return to_string(vm.status) == value;
  if (key == "label") return label_matches(vm, value);
  if (key == "exited") {
    return vm.status == vm::VmStatus::kExited && std::to_string(vm.exit_code.value_or(0)) == value;
  }
  if (key == "health") return value == (vm.health.status.empty() ? "none" : vm.health.status);
  return vm.image == value || vm.image_digest == value || vm.image_digest == "sha256:" + value;
}

}  // namespace

void VmFilter::add(std::string_view text) {
  const auto equals = text.find('=');
  const std::string key(text.substr(0, equals));
  if (std::find(kKeys.begin(), kKeys.end(), key) == kKeys.end()) {
    std::string known;
    for (const auto name : kKeys) known += base::cat(known.empty() ? "" : ", ", name);
    throw base::Error(base::cat("unknown filter ", base::quoted(key)))
        .set_hint("filters are " + known);
  }
  if (equals == std::string_view::npos || equals + 1 == text.size()) {
    throw base::Error(base::cat("filter ", base::quoted(text), " has no value"));
  }
  const std::string value(text.substr(equals + 1));
  if (key == "name") static_cast<void>(name_pattern(value));
  if (key == "status") {
    const bool known = std::any_of(kStatuses.begin(), kStatuses.end(),
                                   [&](vm::VmStatus status) { return to_string(status) == value; });
    if (!known) throw base::Error(base::cat("unknown status ", base::quoted(value)));
  }
  filters_[key].push_back(value);
}

bool VmFilter::matches(const vm::VmRecord& vm) const {
  return std::all_of(filters_.begin(), filters_.end(), [&](const auto& filter) {
    return std::any_of(filter.second.begin(), filter.second.end(), [&](const std::string& value) {
      return one_matches(vm, filter.first, value);
    });
  });
}

}  // namespace cli
