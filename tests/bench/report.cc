#include "tests/bench/report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace bench {
namespace {

std::string number(double value, int decimals) {
  std::array<char, 64> text;
  const int n = std::snprintf(text.data(), text.size(), "%.*f", decimals, value);
  return {text.data(), static_cast<std::size_t>(n)};
}

std::string row(const std::string& name, const std::string& value, const std::string& unit,
                const std::string& baseline, const std::string& ratio, const std::string& bar) {
  std::array<char, 256> text;
  const int n =
      std::snprintf(text.data(), text.size(), "%-44s %10s %-5s %10s %7s  %s\n", name.c_str(),
                    value.c_str(), unit.c_str(), baseline.c_str(), ratio.c_str(), bar.c_str());
  return {text.data(), std::min(static_cast<std::size_t>(n), text.size() - 1)};
}

}  // namespace

std::optional<double> Line::ratio() const {
  if (!baseline || *baseline <= 0) {
    return std::nullopt;
  }
  return value / *baseline;
}

bool Line::holds() const {
  return !bar || (ratio() && *ratio() <= *bar);
}

double median(std::vector<double> values) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::string to_table(const std::vector<Line>& lines) {
  std::string table = row("", "measured", "", "baseline", "ratio", "bar");
  for (const Line& line : lines) {
    std::string bar;
    if (line.bar) {
      bar = "<= " + number(*line.bar, 2) + (line.holds() ? "  ok" : "  MISSED");
    }
    table += row(line.name, number(line.value, 1), line.unit,
                 line.baseline ? number(*line.baseline, 1) : "",
                 line.ratio() ? number(*line.ratio(), 3) : "", bar);
  }
  return table;
}

std::string to_json(const std::vector<Line>& lines) {
  nlohmann::json json = nlohmann::json::array();
  for (const Line& line : lines) {
    nlohmann::json entry{{"name", line.name}, {"value", line.value}, {"unit", line.unit}};
    if (line.baseline) {
      entry["baseline"] = *line.baseline;
    }
    if (const auto ratio = line.ratio()) {
      entry["ratio"] = *ratio;
    }
    if (line.bar) {
      entry["bar"] = *line.bar;
      entry["holds"] = line.holds();
    }
    json.push_back(std::move(entry));
  }
  return json.dump(2) + "\n";
}

}  // namespace bench
