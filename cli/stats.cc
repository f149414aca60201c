#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "cli/command.h"
#include "cli/ls_rows.h"
#include "cli/output.h"
#include "cli/template.h"
#include "cli/top_columns.h"
#include "vm/clock.h"

namespace cli {
namespace {

using nlohmann::json;

constexpr std::size_t kMinColumn = 12;  // as podman's tables

struct Sample {
  vm::VmRecord vm;
  vm::VmStats stats;  // zeros for a VM that does not run
  std::int64_t at_ns = 0;
  double cpu_percent = 0;  // since the sample before, or since the start
  double average_percent = 0;
};

std::string percent(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f%%", value);
  return text;
}

bool runs(const vm::VmRecord& vm) {
  return vm.status == vm::VmStatus::kRunning || vm.status == vm::VmStatus::kPaused;
}

std::uint64_t limit_of(const Sample& sample) {
  return runs(sample.vm) ? sample.vm.mem_mib << 20 : 0;
}

double mem_percent(const Sample& sample) {
  const std::uint64_t limit = limit_of(sample);
  return limit == 0
             ? 0
             : 100 * static_cast<double>(sample.stats.mem_bytes) / static_cast<double>(limit);
}

double share(std::uint64_t cpu_us, std::int64_t time_ns) {
  return time_ns <= 0 ? 0 : 100 * static_cast<double>(cpu_us) * 1000 / static_cast<double>(time_ns);
}

std::string pair_of(std::uint64_t first, std::uint64_t second) {
  return human_size(first) + " / " + human_size(second);
}

class Sampler {
 public:
  explicit Sampler(const vm::VmManager& manager) : manager_(manager) {}

  Sample take(const vm::VmRecord& vm) {
    Sample sample;
    sample.vm = vm;
    if (!runs(vm)) return sample;
    sample.stats = manager_.stats(vm);
    sample.at_ns = vm::wall_clock_ns();
    sample.average_percent = share(sample.stats.cpu_us, sample.at_ns - vm.started_ns);
    const auto before = before_.find(vm.id);
    const bool went_on =
        before != before_.end() && before->second.stats.cpu_us <= sample.stats.cpu_us;
    sample.cpu_percent = went_on ? share(sample.stats.cpu_us - before->second.stats.cpu_us,
                                         sample.at_ns - before->second.at_ns)
                                 : sample.average_percent;
    before_[vm.id] = sample;
    return sample;
  }

 private:
  const vm::VmManager& manager_;
  std::map<std::string, Sample> before_;
};

std::string id_of(const Sample& sample, bool full) {
  return full ? sample.vm.id : sample.vm.id.substr(0, kShortIdChars);
}

std::string table_of(const std::vector<Sample>& samples, bool full_ids) {
  std::vector<std::vector<std::string>> rows{{"ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %",
                                              "NET IO", "BLOCK IO", "PIDS", "CPU TIME",
                                              "AVG CPU %"}};
  for (const auto& sample : samples) {
    const vm::VmStats& stats = sample.stats;
    rows.push_back({id_of(sample, full_ids), sample.vm.name, percent(sample.cpu_percent),
                    pair_of(stats.mem_bytes, limit_of(sample)), percent(mem_percent(sample)),
                    pair_of(0, 0), pair_of(stats.read_bytes, stats.written_bytes),
                    std::to_string(stats.processes), go_duration(stats.cpu_us),
                    percent(sample.average_percent)});
  }
  return render_table(rows, kMinColumn);
}

double rounded(double value) {
  return std::round(value * 100) / 100;
}

json json_of(const std::vector<Sample>& samples) {
  json list = json::array();
  for (const auto& sample : samples) {
    const vm::VmStats& stats = sample.stats;
    list.push_back({{"id", sample.vm.id},
                    {"name", sample.vm.name},
                    {"status", to_string(sample.vm.status)},
                    {"cpu_percent", rounded(sample.cpu_percent)},
                    {"avg_cpu_percent", rounded(sample.average_percent)},
                    {"cpu_time_us", stats.cpu_us},
                    {"mem_usage_bytes", stats.mem_bytes},
                    {"mem_limit_bytes", limit_of(sample)},
                    {"mem_percent", rounded(mem_percent(sample))},
                    {"net_input_bytes", 0},
                    {"net_output_bytes", 0},
                    {"block_input_bytes", stats.read_bytes},
                    {"block_output_bytes", stats.written_bytes},
                    {"pids", stats.processes},
                    {"vmm_cpu_time_us", stats.vmm_cpu_us},
                    {"vmm_resident_bytes", stats.vmm_resident_bytes}});
  }
  return list;
}

// podman's own document of --format json.
json podman_json_of(const std::vector<Sample>& samples, bool full_ids) {
  json list = json::array();
  for (const auto& sample : samples) {
    const vm::VmStats& stats = sample.stats;
    list.push_back({{"id", id_of(sample, full_ids)},
                    {"name", sample.vm.name},
                    {"cpu_time", go_duration(stats.cpu_us)},
                    {"cpu_percent", percent(sample.cpu_percent)},
                    {"avg_cpu", percent(sample.average_percent)},
                    {"mem_usage", pair_of(stats.mem_bytes, limit_of(sample))},
                    {"mem_percent", percent(mem_percent(sample))},
                    {"net_io", pair_of(0, 0)},
                    {"block_io", pair_of(stats.read_bytes, stats.written_bytes)},
                    {"pids", std::to_string(stats.processes)}});
  }
  return list;
}

json template_rows(const std::vector<Sample>& samples, bool full_ids) {
  json list = json::array();
  for (const auto& sample : samples) {
    const vm::VmStats& stats = sample.stats;
    list.push_back({{"ID", id_of(sample, full_ids)},
                    {"ContainerID", sample.vm.id},
                    {"Name", sample.vm.name},
                    {"CPUPerc", percent(sample.cpu_percent)},
                    {"AVGCPU", percent(sample.average_percent)},
                    {"UpTime", go_duration(stats.cpu_us)},
                    {"MemUsage", pair_of(stats.mem_bytes, limit_of(sample))},
                    {"MemPerc", percent(mem_percent(sample))},
                    {"MemLimit", limit_of(sample)},
                    {"NetIO", pair_of(0, 0)},
                    {"BlockIO", pair_of(stats.read_bytes, stats.written_bytes)},
                    {"BlockInput", stats.read_bytes},
                    {"BlockOutput", stats.written_bytes},
                    {"PIDS", stats.processes},
                    {"PIDs", stats.processes}});
  }
  return list;
}

json template_headings() {
  return {{"ID", "ID"},
          {"ContainerID", nullptr},
          {"Name", "NAME"},
          {"CPUPerc", "CPU %"},
          {"AVGCPU", "AVG CPU %"},
          {"UpTime", "CPU TIME"},
          {"MemUsage", "MEM USAGE / LIMIT"},
          {"MemPerc", "MEM %"},
          {"MemLimit", nullptr},
          {"NetIO", "NET IO"},
          {"BlockIO", "BLOCK IO"},
          {"BlockInput", nullptr},
          {"BlockOutput", nullptr},
          {"PIDS", "PIDS"},
          {"PIDs", "PIDS"}};
}

std::string dumped(const json& value, int indent) {
  return value.dump(indent, ' ', false, json::error_handler_t::replace) + '\n';
}

struct View {
  bool as_json = false;
  bool full_ids = false;
  std::optional<ListFormat> format;

  std::string of(const std::vector<Sample>& samples) const {
    if (as_json) return dumped(json_of(samples), 2);
    if (!format) return table_of(samples, full_ids);
    if (format->is_json()) return dumped(podman_json_of(samples, full_ids), 1);
    return base::with_context("--format", [&] {
      return format->render(template_rows(samples, full_ids), template_headings(), true);
    });
  }
};

}  // namespace

int stats(Invocation& invocation) {
  bool all = false;
  bool no_stream = false;
  bool no_reset = false;
  std::size_t interval_s = 5;
  View view;
  Options options;
  options.flag("all,a", all, "Also VMs that do not run");
  options.value(
      "format", "TEMPLATE",
      "Print by a Go template instead, in columns behind 'table ', or as json with podman's "
      "keys",
      [&](const std::string& text) {
        view.format.reset();
        if (!text.empty()) view.format.emplace(text);
      });
  options.value("interval,i", "SECONDS", "Between one look and the next; default 5",
                [&](const std::string& text) {
                  interval_s = parse_count(text);
                  if (interval_s == 0 || interval_s > 24 * 3600) {
                    throw base::Error(base::cat(base::quoted(text), " is out of range"));
                  }
                });
  options.flag("json", view.as_json, "Print a JSON array at each look");
  options.flag("no-reset", no_reset, "Do not clear the screen between looks");
  options.flag("no-stream", no_stream, "Look once");
  options.flag("no-trunc", view.full_ids, "Print whole IDs");
  const auto names = invocation.parse(options, Order::kAnywhere);
  if (all && !names.empty()) throw UsageError("name VMs or give --all, not both");
  if (view.as_json && view.format) throw UsageError("--json excludes --format");

  const vm::VmManager manager = invocation.manager();
  Sampler sampler(manager);
  const bool clear =
      !no_reset && !no_stream && !view.as_json && !view.format && ::isatty(STDOUT_FILENO) == 1;
  while (true) {
    std::vector<vm::VmRecord> vms;
    for (const auto& name : names) vms.push_back(manager.find(name));
    if (names.empty()) {
      vms = manager.list();
      std::erase_if(vms, [&](const vm::VmRecord& vm) { return !all && !runs(vm); });
    }
    std::vector<Sample> samples;
    for (const auto& vm : vms) {
      try {
        samples.push_back(sampler.take(vm));
      } catch (const base::Error& error) {
        // One that ends just now, or does not answer, says nothing about the others.
        print_error(invocation.command->name, error);
      }
    }
    print((clear ? "\x1b[2J\x1b[H" : "") + view.of(samples));
    if (no_stream) return 0;
    std::this_thread::sleep_for(std::chrono::seconds(interval_s));
  }
}

}  // namespace cli
