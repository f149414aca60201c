#include <nlohmann/json.hpp>
#include <optional>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/template.h"
#include "vm/disk_usage.h"

namespace cli {
namespace {

using Json = nlohmann::json;

std::string reclaimable_text(const vm::DiskUsage& usage) {
  const std::uint64_t percent = usage.bytes == 0 ? 0 : usage.reclaimable_bytes * 100 / usage.bytes;
  return base::cat(human_size(usage.reclaimable_bytes), " (", percent, "%)");
}

Json rows_of(const std::vector<vm::DiskUsage>& list, bool for_template) {
  Json rows = Json::array();
  for (const auto& usage : list) {
    if (for_template) {
      rows.push_back({{"Type", usage.type},
                      {"Total", usage.total},
                      {"Active", usage.active},
                      {"Size", human_size(usage.bytes)},
                      {"Reclaimable", reclaimable_text(usage)}});
    } else {
      rows.push_back({{"type", usage.type},
                      {"total", usage.total},
                      {"active", usage.active},
                      {"size_bytes", usage.bytes},
                      {"reclaimable_bytes", usage.reclaimable_bytes}});
    }
  }
  return rows;
}

}  // namespace

int system_df(Invocation& invocation) {
  bool json = false;
  std::optional<ListFormat> format;
  Options options;
  options.flag("json", json, "Print one JSON array");
  options.value("format", "TEMPLATE", "Print by a Go template instead, or json",
                [&](const std::string& text) {
                  format.reset();
                  if (!text.empty()) format.emplace(text);
                });
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  const vm::VmManager manager = invocation.manager();
  const std::vector<vm::DiskUsage> list = vm::disk_usage(manager.store());
  if (json || (format && format->is_json())) {
    print(rows_of(list, false).dump(2) + '\n');
    return 0;
  }
  if (!format) {
    format.emplace("table {{.Type}}\t{{.Total}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}");
  }
  const Json headings{{"Type", nullptr},
                      {"Total", nullptr},
                      {"Active", nullptr},
                      {"Size", nullptr},
                      {"Reclaimable", nullptr}};
  base::with_context("--format",
                     [&] { print(format->render(rows_of(list, true), headings, true)); });
  return 0;
}

}  // namespace cli
