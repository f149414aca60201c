#include "vm/doctor/doctor.h"

#include <algorithm>
#include <csignal>
#include <iterator>

#include "base/error.h"
#include "base/process.h"
#include "vm/doctor/checks.h"

namespace vm {

std::string_view to_string(CheckStatus status) {
  switch (status) {
    case CheckStatus::kOk:
      return "ok";
    case CheckStatus::kDegraded:
      return "degraded";
    case CheckStatus::kMissing:
      return "missing";
  }
  return "";
}

bool Diagnosis::can_run() const {
  return std::none_of(checks.begin(), checks.end(),
                      [](const Check& check) { return check.prevents_run; });
}

Diagnosis examine(const std::string& data_dir) {
  Diagnosis diagnosis;
  for (std::vector<Check> part :
       {machine_checks(), image_checks(), data_checks(data_dir), unused_checks()}) {
    std::move(part.begin(), part.end(), std::back_inserter(diagnosis.checks));
  }
  return diagnosis;
}

Check ok(std::string name, std::string found) {
  return {std::move(name), CheckStatus::kOk, std::move(found), {}, {}, false};
}

Check degraded(std::string name, std::string found, std::string cost, std::string fix) {
  return {std::move(name), CheckStatus::kDegraded, std::move(found),
          std::move(cost), std::move(fix),         false};
}

Check missing(std::string name, std::string found, std::string cost, std::string fix) {
  return {std::move(name), CheckStatus::kMissing, std::move(found),
          std::move(cost), std::move(fix),        false};
}

Check prevented(std::string name, std::string found, std::string cost, std::string fix) {
  Check check = missing(std::move(name), std::move(found), std::move(cost), std::move(fix));
  check.prevents_run = true;
  return check;
}

Program look_for_program(const std::string& name, const std::string& version_flag) {
  const std::string path = base::find_program(name);
  if (path.empty()) return {{}, base::cat(name, " is not installed")};
  base::SpawnOptions spawn;
  spawn.argv = {path, version_flag};
  spawn.parent_death_signal = SIGKILL;
  base::CommandOptions options;
  options.timeout = std::chrono::seconds(30);
  try {
    const base::CommandResult result = base::run_command(std::move(spawn), options);
    if (!result.status.success()) {
      return {{}, base::cat(path, " does not work: exit status ", result.status.as_shell())};
    }
    // mke2fs prints its version to stderr.
    const std::string& text = result.out.empty() ? result.err : result.out;
    return {path, base::cat(path, " (", text.substr(0, text.find('\n')), ")")};
  } catch (const base::Error& error) {
    return {{}, error.what()};
  }
}

}  // namespace vm
