// What the benchmarks found, as a table or as JSON.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace bench {

struct Line {
  std::string name;
  double value = 0;
  std::string unit;
  // What it is compared with, in the same unit, and the most the ratio may be.
  std::optional<double> baseline;
  std::optional<double> bar;

  std::optional<double> ratio() const;
  // Without a bar, true.
  bool holds() const;
};

double median(std::vector<double> values);

// One line each, with a heading.
std::string to_table(const std::vector<Line>& lines);
std::string to_json(const std::vector<Line>& lines);

}  // namespace bench
