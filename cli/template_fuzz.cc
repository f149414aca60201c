// Input: a template, rendered over a small record and as the format of a list.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "cli/template.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: any object's bytes may be read through char.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const nlohmann::json record{
      {"Name", "web"},
      {"Created", cli::template_time("2026-11-23T01:41:01.900000000Z")},
      {"State", {{"Status", "running"}, {"ExitCode", 0}, {"Load", 0.5}, {"Health", nullptr}}},
      {"Labels", {{"a", "b"}}},
      {"Args", {"1", "two"}}};
  static const nlohmann::json headings{{"Name", "NAMES"},
                                       {"Created", nullptr},
                                       {"State", nullptr},
                                       {"Labels", nullptr},
                                       {"Args", "ARGUMENTS"}};
  try {
    const std::string output = cli::Template(text).render(record);
    if (output.size() > cli::Template::kMaxOutputBytes) std::abort();
  } catch (const base::Error&) {
  }
  try {
    const cli::ListFormat format(text);
    if (!format.is_json()) {
      static_cast<void>(format.render(nlohmann::json::array({record, record}), headings, true));
    }
  } catch (const base::Error&) {
  }
  return 0;
}
