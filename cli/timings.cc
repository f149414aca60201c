#include "cli/timings.h"

#include <algorithm>
#include <cstdio>

#include "base/utf8.h"
#include "cli/output.h"
#include "vm/clock.h"

namespace cli {
namespace {

std::string milliseconds(std::int64_t us) {
  char text[32];
  std::snprintf(text, sizeof text, "%9.1f ms", static_cast<double>(us) / 1000);
  return text;
}

}  // namespace

void Timings::note(const std::string& name) {
  milestones_.push_back({name, (vm::monotonic_ns() - start_ns_) / 1000});
}

void Timings::add(const std::map<std::string, std::int64_t>& milestones_us) {
  for (const auto& [name, at_us] : milestones_us) milestones_.push_back({name, at_us});
}

std::string Timings::table() const {
  std::vector<Milestone> sorted = milestones_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Milestone& a, const Milestone& b) { return a.at_us < b.at_us; });
  std::vector<std::vector<std::string>> rows{{"MILESTONE", "AT", "TOOK"}};
  std::int64_t before = 0;
  for (const auto& milestone : sorted) {
    rows.push_back({base::printable(milestone.name), milliseconds(milestone.at_us),
                    milliseconds(milestone.at_us - before)});
    before = milestone.at_us;
  }
  return render_table(rows);
}

}  // namespace cli
