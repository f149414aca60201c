#include "vm/flag_parsers.h"

#include <csignal>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/error.h"
#include "base/json.h"
#include "vm/detail/text.h"

namespace vm {
namespace {

using base::cat;
using base::Error;
using detail::lower_case;
using detail::parse_digits;
using detail::split;

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alnum(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Digits with at most one point between them; no sign, no exponent.
std::optional<double> parse_decimal(std::string_view text) {
  const bool plain =
      !text.empty() && is_digit(text.front()) && is_digit(text.back()) &&
      std::count(text.begin(), text.end(), '.') <= 1 &&
      std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || c == '.'; });
  double value = 0;
  if (!plain || std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc{}) {
    return std::nullopt;
  }
  return value;
}

template <typename Value, std::size_t Count>
Value parse_choice(std::string_view text, std::string_view what,
                   const std::array<std::pair<std::string_view, Value>, Count>& choices) {
  std::string names;
  for (const auto& [name, value] : choices) {
    if (text == name) return value;
    if (!names.empty()) names += ", ";
    names += name;
  }
  throw Error(cat("unknown ", what, " ", base::quoted(text), ": it is one of ", names));
}

// A JSON array of texts; empty when `text` is something else.
std::optional<std::vector<std::string>> parse_json_words(std::string_view text) {
  if (text.empty() || text.front() != '[') return std::nullopt;
  nlohmann::json json;
  try {
    json = base::parse_json(text);
  } catch (const Error&) {
    return std::nullopt;
  }
  if (!json.is_array()) return std::nullopt;
  std::vector<std::string> words;
  for (const auto& word : json) {
    if (!word.is_string()) return std::nullopt;
    words.push_back(word.get<std::string>());
  }
  return words;
}

}  // namespace

std::uint64_t parse_size(std::string_view text) {
  const auto bad = [&] { return Error(cat("invalid size: ", base::quoted(text))); };
  std::size_t digits = 0;
  while (digits < text.size() && (is_digit(text[digits]) || text[digits] == '.')) ++digits;
  const auto number = parse_decimal(text.substr(0, digits));
  if (!number) throw bad();

  std::string_view rest = text.substr(digits);
  if (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  std::string unit = lower_case(rest);
  double factor = 1;
  if (!unit.empty()) {
    constexpr std::string_view kUnits = "kmgtp";
    const std::size_t power = kUnits.find(unit.front());
    if (power != std::string_view::npos) {
      factor = std::pow(1024.0, static_cast<double>(power + 1));
      unit.erase(0, 1);
    }
    if (!unit.empty() && unit != "b" && unit != "i" && unit != "ib") throw bad();
  }
  const double bytes = *number * factor;
  if (bytes > static_cast<double>(std::numeric_limits<std::int64_t>::max()) * 0.999) {
    throw Error(cat("size ", base::quoted(text), " is too large"));
  }
  return static_cast<std::uint64_t>(bytes);
}

int parse_cpus(std::string_view text) {
  constexpr double kMaxCpus = 1024;
  const auto cpus = parse_decimal(text);
  if (!cpus || *cpus <= 0 || *cpus > kMaxCpus) {
    throw Error(cat("invalid number of CPUs: ", base::quoted(text)));
  }
  return static_cast<int>(std::ceil(*cpus));
}

std::vector<int> parse_cpu_list(std::string_view text) {
  constexpr unsigned kMaxCpu = 8191;  // CONFIG_NR_CPUS at its largest on x86 and arm64
  std::set<int> cpus;
  for (std::string_view piece : split(text, ',')) {
    const std::size_t dash = piece.find('-');
    const auto first = parse_digits<unsigned>(piece.substr(0, dash));
    const auto last =
        dash == std::string_view::npos ? first : parse_digits<unsigned>(piece.substr(dash + 1));
    if (!first || !last || *first > *last || *last > kMaxCpu) {
      throw Error(cat("invalid CPU list: ", base::quoted(text)));
    }
    for (unsigned cpu = *first; cpu <= *last; ++cpu) cpus.insert(static_cast<int>(cpu));
  }
  return {cpus.begin(), cpus.end()};
}

std::chrono::nanoseconds parse_duration(std::string_view text) {
  const auto bad = [&](std::string_view why) {
    return Error(cat("invalid duration ", base::quoted(text), ": ", why));
  };
  static constexpr std::array<std::pair<std::string_view, double>, 8> kUnits = {{{"ns", 1.0},
                                                                                 {"us", 1e3},
                                                                                 {"\xC2\xB5s", 1e3},
                                                                                 {"\xCE\xBCs", 1e3},
                                                                                 {"ms", 1e6},
                                                                                 {"s", 1e9},
                                                                                 {"m", 60e9},
                                                                                 {"h", 3600e9}}};
  constexpr double kMaxNanoseconds = 9.2e18;
  if (text == "0") return std::chrono::nanoseconds(0);
  if (text.empty()) throw bad("it is empty");

  double total = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    std::size_t digits = 0;
    while (digits < rest.size() && (is_digit(rest[digits]) || rest[digits] == '.')) ++digits;
    const auto number = parse_decimal(rest.substr(0, digits));
    if (!number) throw bad("a number is expected");
    rest.remove_prefix(digits);
    std::size_t letters = 0;
    while (letters < rest.size() && !is_digit(rest[letters]) && rest[letters] != '.') ++letters;
    const std::string_view unit = rest.substr(0, letters);
    rest.remove_prefix(letters);
    if (unit.empty()) throw bad("the unit is missing");
    const auto found = std::find_if(kUnits.begin(), kUnits.end(),
                                    [&](const auto& entry) { return entry.first == unit; });
    if (found == kUnits.end()) throw bad(cat("unknown unit ", base::quoted(unit)));
    total += *number * found->second;
    if (total > kMaxNanoseconds) throw bad("it is too long");
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(total));
}

std::chrono::seconds parse_seconds(std::string_view text) {
  const auto seconds = parse_digits<std::uint32_t>(text);
  if (!seconds) throw Error(cat("invalid number of seconds: ", base::quoted(text)));
  return std::chrono::seconds(*seconds);
}

int parse_signal(std::string_view text) {
  // Numbers of the container's world, not of glibc, which keeps 32 and 33 to itself.
  constexpr int kLastSignal = 64;
  constexpr int kFirstRealTime = 34;
  const auto bad = [&] { return Error(cat("invalid signal: ", base::quoted(text))); };
  if (const auto number = parse_digits<unsigned>(text)) {
    if (*number == 0) throw bad();
    if (*number > kLastSignal) throw Error("valid signals are 1 through 64");
    return static_cast<int>(*number);
  }
  std::string name = lower_case(text);
  if (name.rfind("sig", 0) == 0) name.erase(0, 3);

  for (const auto& [prefix, base_signal, sign] :
       {std::tuple{std::string_view("rtmin"), kFirstRealTime, 1},
        std::tuple{std::string_view("rtmax"), kLastSignal, -1}}) {
    if (name.rfind(prefix, 0) != 0) continue;
    const std::string_view offset = std::string_view(name).substr(prefix.size());
    if (offset.empty()) return base_signal;
    const auto number = parse_digits<unsigned>(offset.substr(1));
    if (offset.front() != (sign > 0 ? '+' : '-') || !number ||
        *number > static_cast<unsigned>(kLastSignal - kFirstRealTime)) {
      throw bad();
    }
    return base_signal + sign * static_cast<int>(*number);
  }
  if (name == "cld") return SIGCHLD;
  if (name == "iot") return SIGIOT;
  if (name == "poll") return SIGPOLL;
  for (int signal = 1; signal < 32; ++signal) {
    const char* abbreviation = sigabbrev_np(signal);
    if (abbreviation != nullptr && lower_case(abbreviation) == name) return signal;
  }
  throw bad();
}

std::string parse_name(std::string_view text) {
  constexpr std::size_t kMaxName = 63;
  const bool good = !text.empty() && text.size() <= kMaxName && is_alnum(text.front()) &&
                    std::all_of(text.begin(), text.end(), [](char c) {
                      return is_alnum(c) || c == '_' || c == '.' || c == '-';
                    });
  if (!good) {
    throw Error(cat("invalid name ", base::quoted(text),
                    ": names match [a-zA-Z0-9][a-zA-Z0-9_.-]* and have at most 63 characters"));
  }
  return std::string(text);
}

std::string parse_hostname(std::string_view text) {
  constexpr std::size_t kHostNameMax = 64;
  const bool good = !text.empty() && text.size() <= kHostNameMax &&
                    std::all_of(text.begin(), text.end(), [](char c) {
                      return static_cast<unsigned char>(c) > ' ' && c != '\x7f';
                    });
  if (!good) throw Error(cat("invalid host name ", base::quoted(text)));
  return std::string(text);
}

Ulimit parse_ulimit(std::string_view text) {
  static constexpr std::array<std::string_view, 15> kNames = {
      "core",   "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue", "nice",
      "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
  const auto bad = [&](std::string_view why) {
    return Error(cat("ulimit option ", base::quoted(text), " requires name=SOFT:HARD: ", why));
  };
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos) throw bad("there is no =");
  const std::string_view name = text.substr(0, equals);
  if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
    throw bad(cat("invalid ulimit type: ", name));
  }
  const auto values = split(text.substr(equals + 1), ':');
  if (values.size() > 2) throw bad("it has more than two values");
  std::array<std::int64_t, 2> limit{};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const char* const end = values[i].data() + values[i].size();
    const auto parsed = std::from_chars(values[i].data(), end, limit.at(i));
    if (values[i].empty() || parsed.ec != std::errc{} || parsed.ptr != end) {
      throw bad(cat(base::quoted(values[i]), " is no number"));
    }
  }
  if (values.size() == 1) limit[1] = limit[0];
  if (limit[1] != -1 && (limit[0] == -1 || limit[0] > limit[1])) {
    throw bad("the soft limit must be less than or equal to the hard limit");
  }
  if (limit[0] < -1 || limit[1] < -1) throw bad("a limit is a number or -1 for unlimited");
  return {std::string(name), static_cast<std::uint64_t>(limit[0]),
          static_cast<std::uint64_t>(limit[1])};
}

void add_env(std::string_view text, const std::vector<std::string>& host_environment,
             Environment& env) {
  if (text.find('\0') != std::string_view::npos) {
    throw Error("invalid environment variable: it holds a NUL");
  }
  const std::size_t equals = text.find('=');
  std::string_view name = text.substr(0, equals);
  if (name.empty()) throw Error(cat("invalid environment variable: ", base::quoted(text)));
  const std::size_t start = name.find_first_not_of(" \t");
  name.remove_prefix(start == std::string_view::npos ? name.size() : start);
  if (name.empty()) throw Error(cat("invalid environment variable: ", base::quoted(text)));
  if (equals != std::string_view::npos) {
    env[std::string(name)] = text.substr(equals + 1);
    return;
  }
  const bool prefix = name.back() == '*';
  if (prefix) name.remove_suffix(1);
  for (const std::string& entry : host_environment) {
    const std::size_t split_at = entry.find('=');
    if (split_at == std::string::npos || split_at == 0) continue;
    const std::string_view host_name = std::string_view(entry).substr(0, split_at);
    if (prefix ? host_name.rfind(name, 0) == 0 : host_name == name) {
      env[std::string(host_name)] = entry.substr(split_at + 1);
    }
  }
}

void add_env_file(std::string_view content, std::string_view name,
                  const std::vector<std::string>& host_environment, Environment& env) {
  base::with_context(cat("parsing env file ", base::quoted(name)), [&] {
    constexpr std::size_t kMaxLine = 64 << 10;
    while (!content.empty()) {
      const std::size_t end = content.find('\n');
      std::string_view line = content.substr(0, end);
      content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
      if (line.size() > kMaxLine) throw Error("a line is longer than 64 KiB");
      if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
      const std::size_t start = line.find_first_not_of(" \t");
      if (start == std::string_view::npos || line[start] == '#') continue;
      add_env(line.substr(start), host_environment, env);
    }
  });
}

void add_label(std::string_view text, std::map<std::string, std::string>& labels) {
  const std::size_t equals = text.find('=');
  if (text.empty() || equals == 0) throw Error(cat("invalid label format: ", base::quoted(text)));
  labels[std::string(text.substr(0, equals))] =
      equals == std::string_view::npos ? std::string_view() : text.substr(equals + 1);
}

std::vector<std::string> parse_entrypoint(std::string_view text) {
  if (text.empty()) return {};
  if (auto words = parse_json_words(text)) return *std::move(words);
  return {std::string(text)};
}

std::vector<std::string> parse_health_command(std::string_view text) {
  if (text.empty()) throw Error("the health command is empty");
  if (text == "none") return {"NONE"};
  if (auto words = parse_json_words(text)) {
    if (words->empty()) throw Error("the health command is empty");
    if (words->front() != "CMD" && words->front() != "CMD-SHELL" && words->front() != "NONE") {
      words->insert(words->begin(), "CMD");
    }
    return *std::move(words);
  }
  return {"CMD-SHELL", std::string(text)};
}

NetworkMode parse_network(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, NetworkMode>, 3> kModes = {
      {{"bridged", NetworkMode::kBridged},
       {"rootless", NetworkMode::kRootless},
       {"none", NetworkMode::kNone}}};
  return parse_choice(text, "network mode", kModes);
}

image::PullPolicy parse_pull(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, image::PullPolicy>, 4> kPolicies = {
      {{"missing", image::PullPolicy::kMissing},
       {"always", image::PullPolicy::kAlways},
       {"never", image::PullPolicy::kNever},
       {"newer", image::PullPolicy::kNewer}}};
  return parse_choice(text, "pull policy", kPolicies);
}

Engine parse_engine(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, Engine>, 2> kEngines = {
      {{"podman", Engine::kPodman}, {"crun", Engine::kCrun}}};
  return parse_choice(text, "engine", kEngines);
}

HypervisorChoice parse_hypervisor(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, HypervisorChoice>, 3> kHypervisors = {
      {{"auto", HypervisorChoice::kAuto},
       {"qemu", HypervisorChoice::kQemu},
       {"firecracker", HypervisorChoice::kFirecracker}}};
  return parse_choice(text, "hypervisor", kHypervisors);
}

AccelChoice parse_accel(std::string_view text) {
  static constexpr std::array<std::pair<std::string_view, AccelChoice>, 3> kAccels = {
      {{"auto", AccelChoice::kAuto}, {"kvm", AccelChoice::kKvm}, {"tcg", AccelChoice::kTcg}}};
  return parse_choice(text, "accelerator", kAccels);
}

namespace {

constexpr std::array<std::pair<std::string_view, RestartPolicy>, 4> kRestartPolicies = {
    {{"no", RestartPolicy::kNo},
     {"on-failure", RestartPolicy::kOnFailure},
     {"always", RestartPolicy::kAlways},
     {"unless-stopped", RestartPolicy::kUnlessStopped}}};

}  // namespace

std::string_view to_string(RestartPolicy policy) {
  for (const auto& [name, known] : kRestartPolicies) {
    if (known == policy) return name;
  }
  return "no";
}

Restart parse_restart(std::string_view text) {
  const std::size_t colon = text.find(':');
  Restart restart;
  restart.policy = parse_choice(text.substr(0, colon), "restart policy", kRestartPolicies);
  if (colon == std::string_view::npos) return restart;
  const auto times = parse_digits<std::uint16_t>(text.substr(colon + 1));
  if (restart.policy != RestartPolicy::kOnFailure || !times) {
    throw Error(
        cat("invalid restart policy ", base::quoted(text), ": only on-failure takes a number"));
  }
  restart.max = *times;
  return restart;
}

std::string parse_detach_keys(std::string_view text) {
  std::string keys;
  if (text.empty()) return keys;
  for (std::string_view key : split(text, ',')) {
    constexpr std::string_view kControl = "ctrl-";
    if (key.size() == 1) {
      keys += key;
      continue;
    }
    const char last = key.empty() ? '\0' : key.back();
    const bool letter = last >= 'a' && last <= 'z';
    const bool sign = last == '@' || (last >= '[' && last <= '_');
    if (key.size() != kControl.size() + 1 || key.rfind(kControl, 0) != 0 || (!letter && !sign)) {
      throw Error(cat("invalid detach keys ", base::quoted(text),
                      ": single characters or ctrl-X, separated by commas"));
    }
    keys += static_cast<char>(last & 0x1f);
  }
  return keys;
}

std::vector<std::string> split_commas(std::string_view text) {
  std::vector<std::string> out;
  for (std::string_view piece : split(text, ',')) {
    if (!piece.empty()) out.emplace_back(piece);
  }
  return out;
}

}  // namespace vm
