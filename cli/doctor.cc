#include "vm/doctor/doctor.h"

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/output.h"

namespace cli {
namespace {

constexpr int kCannotRun = 1;

std::string json_of(const vm::Diagnosis& diagnosis) {
  nlohmann::json checks = nlohmann::json::array();
  for (const vm::Check& check : diagnosis.checks) {
    checks.push_back({{"name", check.name},
                      {"status", to_string(check.status)},
                      {"found", check.found},
                      {"cost", check.cost},
                      {"fix", check.fix},
                      {"prevents_run", check.prevents_run}});
  }
  const nlohmann::json document{{"can_run", diagnosis.can_run()}, {"checks", checks}};
  return document.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}

std::string table_of(const vm::Diagnosis& diagnosis) {
  std::vector<std::vector<std::string>> rows{{"CHECK", "STATUS", "FOUND"}};
  for (const vm::Check& check : diagnosis.checks) {
    std::string text = check.found;
    if (!check.cost.empty()) text += base::cat("; costs: ", check.cost);
    if (!check.fix.empty()) text += base::cat("; fix: ", check.fix);
    rows.push_back({check.name, std::string(to_string(check.status)), text});
  }
  return render_table(rows);
}

}  // namespace

int doctor(Invocation& invocation) {
  bool json = false;
  Options options;
  options.flag("json", json, "Print a JSON object");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  const vm::Diagnosis diagnosis = vm::examine(invocation.settings.data_dir);
  print(json ? json_of(diagnosis) : table_of(diagnosis));
  return diagnosis.can_run() ? 0 : kCannotRun;
}

}  // namespace cli
