#include <nlohmann/json.hpp>
#include <optional>

#include "base/log.h"
#include "cli/command.h"
#include "cli/ls_filter.h"
#include "cli/ls_rows.h"
#include "cli/output.h"
#include "cli/template.h"

namespace cli {

int ls(Invocation& invocation) {
  bool all = false;
  bool quiet = false;
  bool json = false;
  bool no_trunc = false;
  bool no_heading = false;
  std::optional<ListFormat> format;
  VmFilter filter;
  Options options;
  options.flag("all,a", all, "Also VMs that do not run");
  options.flag("quiet,q", quiet, "Print IDs only");
  options.flag("json", json, "Print one JSON array");
  options.flag("no-trunc", no_trunc, "Print whole IDs");
  options.flag("noheading", no_heading, "Print no heading");
  options.value(
      "format", "TEMPLATE",
      "Print by a Go template instead, in columns behind 'table ', or as json with podman's "
      "keys",
      [&](const std::string& text) {
        format.reset();
        if (!text.empty()) format.emplace(text);
      });
  options.list("filter,f", "KEY=VALUE",
               "Only VMs that match: name, id, status, label, ancestor, exited, health",
               [&](const std::string& text) { filter.add(text); });
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  if (json && (quiet || format)) {
    throw UsageError("--json excludes --quiet and --format");
  }

  const vm::VmManager manager = invocation.manager();
  std::vector<vm::VmRecord> vms = manager.list();
  std::erase_if(vms, [&](const vm::VmRecord& vm) {
    return !(all || filter.wants_all() || vm.has_monitor()) || !filter.matches(vm);
  });
  if (json) {
    print(ls_json(vms));
  } else if (format && format->is_json()) {
    print(ls_podman_rows(vms, no_trunc, false)
              .dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
          '\n');
  } else if (format) {
    base::with_context("--format", [&] {
      print(format->render(ls_podman_rows(vms, no_trunc, true), ls_podman_headings(),
                           !no_heading && !quiet));
    });
  } else if (quiet) {
    std::string ids;
    for (const auto& vm : vms) ids += vm.id.substr(0, no_trunc ? vm.id.npos : kShortIdChars) + '\n';
    print(ids);
  } else {
    print(ls_table(vms, no_trunc, !no_heading));
  }
  if (!all) return 0;
  for (const auto& id : manager.damaged()) {
    base::log_warn(base::cat("the record of VM ", id, " is damaged; 'fcvm rm ",
                             id.substr(0, kShortIdChars), "' removes what is left of it"));
  }
  return 0;
}

}  // namespace cli
