// fcvm-bench: ratios of speed and memory on this machine, which should be quiet.
#include <getopt.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "tests/bench/measure.h"
#include "tests/support/requirements.h"

namespace {

constexpr int kSkipped = 77;
// A pair takes many seconds.
constexpr int kMaxDiskSamples = 3;

constexpr const char* kUsage =
    "usage: fcvm-bench [--json] [--rounds N] [--samples N] [--only "
    "start|engine|disk|memory|exec|pipes]\n"
    "exit status: 0 when every bar holds, 1 when one is missed, 2 for wrong usage\n";

void append(std::vector<bench::Line>& lines, std::vector<bench::Line> more) {
  lines.insert(lines.end(), more.begin(), more.end());
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  int rounds = 3;
  int samples = 7;
  std::string only;
  static constexpr std::array<option, 5> kOptions{{{"json", no_argument, nullptr, 'j'},
                                                   {"rounds", required_argument, nullptr, 'r'},
                                                   {"samples", required_argument, nullptr, 's'},
                                                   {"only", required_argument, nullptr, 'o'},
                                                   {nullptr, 0, nullptr, 0}}};
  for (int flag; (flag = ::getopt_long(argc, argv, "", kOptions.data(), nullptr)) != -1;) {
    switch (flag) {
      case 'j':
        json = true;
        break;
      case 'r':
        rounds = std::atoi(optarg);
        break;
      case 's':
        samples = std::atoi(optarg);
        break;
      case 'o':
        only = optarg;
        break;
      default:
        std::cerr << kUsage;
        return 2;
    }
  }
  if (rounds < 1 || samples < 1) {
    std::cerr << kUsage;
    return 2;
  }
  if (const std::string missing = tests::missing_for(tests::Label::vm); !missing.empty()) {
    std::cerr << "fcvm-bench: " << missing << "\n";
    return tests::is_required(tests::Label::vm) ? 1 : kSkipped;
  }
  const auto wanted = [&only](const char* part) { return only.empty() || only == part; };
  try {
    std::vector<bench::Line> lines;
    if (wanted("start")) {
      append(lines, bench::start_cost(rounds, samples));
    }
    if (wanted("engine")) {
      append(lines, bench::engine_cost(samples));
    }
    if (wanted("disk")) {
      append(lines, bench::disk_cost(rounds, std::min(samples, kMaxDiskSamples)));
    }
    if (wanted("memory")) {
      append(lines, bench::memory());
    }
    if (wanted("exec")) {
      append(lines, bench::exec_latency(4 * samples));
    }
    if (wanted("pipes")) {
      append(lines, bench::pipe_throughput());
    }
    std::cout << (json ? bench::to_json(lines) : bench::to_table(lines));
    for (const bench::Line& line : lines) {
      if (!line.holds()) {
        return 1;
      }
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << "fcvm-bench: " << error.what() << "\n";
    return 1;
  }
}
