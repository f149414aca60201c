#include "vm/seccomp_profile.h"

#include <seccomp.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/json.h"
#include "vm/detail/text.h"

namespace vm {
namespace {

using base::cat;
using base::Error;
using nlohmann::json;

// BPF_MAXINSNS instructions of 8 bytes, linux/bpf_common.h.
constexpr std::size_t kMaxProgramBytes = 4096 * 8;

constexpr std::string_view kErrnoAction = "SCMP_ACT_ERRNO";

struct ArchitectureName {
  std::string_view go;
  std::string_view scmp;
};
constexpr std::array<ArchitectureName, 2> kArchitectures = {
    {{"amd64", "SCMP_ARCH_X86_64"}, {"arm64", "SCMP_ARCH_AARCH64"}}};

bool supports_errno(std::string_view action) {
  return action == kErrnoAction || action == "SCMP_ACT_TRACE";
}

// What a condition of a rule ("includes" or "excludes") says of this container.
struct Condition {
  std::vector<std::string> capabilities;
  std::vector<std::string> architectures;
};

Condition parse_condition(const json& rule, const char* key) {
  Condition condition;
  const auto found = rule.find(key);
  if (found == rule.end() || found->is_null()) return condition;
  for (const auto& [name, value] : found->items()) {
    if (value.is_null()) continue;
    if (name == "caps") {
      condition.capabilities = value.get<std::vector<std::string>>();
    } else if (name == "arches") {
      condition.architectures = value.get<std::vector<std::string>>();
    } else {
      throw Error(cat("unknown condition ", base::quoted(name)));
    }
  }
  return condition;
}

bool contains(const std::vector<std::string>& list, std::string_view wanted) {
  return std::find(list.begin(), list.end(), wanted) != list.end();
}

bool applies(const json& rule, std::string_view architecture,
             const std::vector<std::string>& bounding) {
  const Condition excludes = parse_condition(rule, "excludes");
  const Condition includes = parse_condition(rule, "includes");
  const auto has = [&](const std::string& name) { return contains(bounding, name); };
  if (contains(excludes.architectures, architecture)) return false;
  if (std::any_of(excludes.capabilities.begin(), excludes.capabilities.end(), has)) return false;
  if (!includes.architectures.empty() && !contains(includes.architectures, architecture)) {
    return false;
  }
  return std::all_of(includes.capabilities.begin(), includes.capabilities.end(), has);
}

json resolve_rule(const json& rule) {
  json out;
  if (const auto name = rule.find("name");
      name != rule.end() && !name->get<std::string>().empty()) {
    out["names"] = json::array({name->get<std::string>()});
  } else {
    out["names"] = rule.at("names").get<std::vector<std::string>>();
  }
  const std::string action = rule.at("action").get<std::string>();
  out["action"] = action;
  if (const auto value = rule.find("errnoRet"); value != rule.end() && !value->is_null()) {
    out["errnoRet"] = value->get<std::uint32_t>();
  } else if (!rule.value("errno", std::string()).empty()) {
    throw Error("a rule names its errno without a number");
  }
  const auto args = rule.find("args");
  if (args == rule.end() || args->is_null()) return out;
  for (const json& arg : *args) {
    json resolved = {{"index", arg.at("index").get<std::uint32_t>()},
                     {"value", arg.at("value").get<std::uint64_t>()},
                     {"op", arg.at("op").get<std::string>()}};
    const auto second = arg.value("valueTwo", std::uint64_t{0});
    if (second != 0) resolved["valueTwo"] = second;
    out["args"].push_back(std::move(resolved));
  }
  return out;
}

// nlohmann's complaints about types and missing members, as ours.
template <typename F>
auto reading_profile(F&& f) {
  return base::with_context("reading the seccomp profile", [&] {
    try {
      return f();
    } catch (const json::exception& error) {
      throw Error(error.what());
    }
  });
}

std::uint32_t action_of(std::string_view name, std::optional<std::uint32_t> errno_value) {
  if (errno_value && !supports_errno(name)) {
    throw Error(cat("action ", base::quoted(name), " takes no errno"));
  }
  const std::uint32_t error = errno_value.value_or(EPERM);
  if (name == kErrnoAction) return SCMP_ACT_ERRNO(error);
  if (name == "SCMP_ACT_TRACE") return SCMP_ACT_TRACE(error);
  if (name == "SCMP_ACT_ALLOW") return SCMP_ACT_ALLOW;
  if (name == "SCMP_ACT_KILL" || name == "SCMP_ACT_KILL_THREAD") return SCMP_ACT_KILL_THREAD;
  if (name == "SCMP_ACT_KILL_PROCESS") return SCMP_ACT_KILL_PROCESS;
  if (name == "SCMP_ACT_TRAP") return SCMP_ACT_TRAP;
  if (name == "SCMP_ACT_LOG") return SCMP_ACT_LOG;
  throw Error(cat("unknown action ", base::quoted(name)));
}

scmp_compare operator_of(std::string_view name) {
  if (name == "SCMP_CMP_NE") return SCMP_CMP_NE;
  if (name == "SCMP_CMP_LT") return SCMP_CMP_LT;
  if (name == "SCMP_CMP_LE") return SCMP_CMP_LE;
  if (name == "SCMP_CMP_EQ") return SCMP_CMP_EQ;
  if (name == "SCMP_CMP_GE") return SCMP_CMP_GE;
  if (name == "SCMP_CMP_GT") return SCMP_CMP_GT;
  if (name == "SCMP_CMP_MASKED_EQ") return SCMP_CMP_MASKED_EQ;
  throw Error(cat("unknown comparison ", base::quoted(name)));
}

std::optional<std::uint32_t> optional_number(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return std::nullopt;
  return found->get<std::uint32_t>();
}

void check(int result, std::string_view verb, std::string_view object) {
  if (result < 0) throw Error(-result, verb, object);
}

void add_rule(scmp_filter_ctx filter, const json& rule, std::uint32_t default_action) {
  const std::uint32_t action =
      action_of(rule.at("action").get<std::string>(), optional_number(rule, "errnoRet"));
  if (action == default_action) return;

  std::vector<scmp_arg_cmp> comparisons;
  std::array<int, 6> uses{};  // of each argument of a system call
  bool repeated = false;
  if (const auto args = rule.find("args"); args != rule.end()) {
    for (const json& arg : *args) {
      const auto index = arg.at("index").get<std::uint32_t>();
      if (index >= uses.size()) throw Error(cat("system calls have no argument ", index));
      repeated = ++uses.at(index) > 1 || repeated;
      comparisons.push_back({index, operator_of(arg.at("op").get<std::string>()),
                             arg.at("value").get<std::uint64_t>(),
                             arg.value("valueTwo", std::uint64_t{0})});
    }
  }
  for (const json& name : rule.at("names")) {
    const auto text = name.get<std::string>();
    const int number = seccomp_syscall_resolve_name(text.c_str());
    if (number == __NR_SCMP_ERROR) continue;
    if (!repeated) {
      check(seccomp_rule_add_array(filter, action, number,
                                   static_cast<unsigned>(comparisons.size()), comparisons.data()),
            "adding a seccomp rule for", text);
      continue;
    }
    // libseccomp allows one comparison an argument, so several become alternatives.
    for (const scmp_arg_cmp& comparison : comparisons) {
      check(seccomp_rule_add_array(filter, action, number, 1, &comparison),
            "adding a seccomp rule for", text);
    }
  }
}

}  // namespace

json resolve_seccomp_profile(std::string_view profile, std::string_view architecture,
                             const std::vector<std::string>& bounding) {
  return reading_profile([&] {
    const json source = base::parse_json(profile, kMaxSeccompProfileBytes);
    json out;
    out["defaultAction"] = source.at("defaultAction").get<std::string>();
    if (const auto value = optional_number(source, "defaultErrnoRet")) {
      out["defaultErrnoRet"] = *value;
    }
    const auto native =
        std::find_if(kArchitectures.begin(), kArchitectures.end(),
                     [&](const ArchitectureName& name) { return name.go == architecture; });
    if (native == kArchitectures.end()) {
      throw Error(cat("unknown architecture ", base::quoted(architecture)));
    }
    out["architectures"] = json::array();
    for (const json& entry : source.at("archMap")) {
      if (entry.at("architecture").get<std::string>() != native->scmp) continue;
      out["architectures"].push_back(std::string(native->scmp));
      for (const json& sub : entry.at("subArchitectures")) {
        out["architectures"].push_back(sub.get<std::string>());
      }
    }
    out["syscalls"] = json::array();
    for (const json& rule : source.at("syscalls")) {
      if (applies(rule, architecture, bounding)) out["syscalls"].push_back(resolve_rule(rule));
    }
    return out;
  });
}

std::string compile_seccomp_filter(const json& seccomp) {
  return reading_profile([&] {
    const std::uint32_t default_action = action_of(seccomp.at("defaultAction").get<std::string>(),
                                                   optional_number(seccomp, "defaultErrnoRet"));
    const std::unique_ptr<void, decltype(&seccomp_release)> filter(seccomp_init(default_action),
                                                                   &seccomp_release);
    if (!filter) throw Error("seccomp_init failed");

    for (const json& architecture : seccomp.at("architectures")) {
      const auto name = architecture.get<std::string>();
      constexpr std::string_view kPrefix = "SCMP_ARCH_";
      if (name.rfind(kPrefix, 0) != 0)
        throw Error(cat("unknown architecture ", base::quoted(name)));
      const std::uint32_t token =
          seccomp_arch_resolve_name(detail::lower_case(name.substr(kPrefix.size())).c_str());
      if (token == 0) throw Error(cat("unknown architecture ", base::quoted(name)));
      const int result = seccomp_arch_add(filter.get(), token);
      if (result != -EEXIST) check(result, "adding seccomp architecture", name);
    }
    for (const json& rule : seccomp.at("syscalls")) add_rule(filter.get(), rule, default_action);

    // seccomp_export_bpf_mem came with libseccomp 2.6; a memory file serves every version.
    const base::Fd memory = base::make_memfd("seccomp-filter", 0);
    check(seccomp_export_bpf(filter.get(), memory.get()), "exporting the seccomp filter", "");
    if (lseek(memory.get(), 0, SEEK_SET) != 0) base::throw_errno("rewinding", "seccomp-filter");
    return base::read_to_end(memory, kMaxProgramBytes);
  });
}

std::string cached_seccomp_filter(const json& seccomp, const std::string& cache_directory) {
  // Another libseccomp may know more system calls or order the program otherwise.
  const scmp_version* const version = seccomp_version();
  const std::string key = base::sha256(
      cat(version->major, ".", version->minor, ".", version->micro, "\n", seccomp.dump()));
  const std::string path = cat(cache_directory, "/", key);

  constexpr std::size_t kDigestBytes = 64;
  std::optional<std::string> stored;
  try {
    stored = base::try_read_file(path, kDigestBytes + kMaxProgramBytes);
  } catch (const Error&) {
    // Unreadable is as good as missing.
  }
  if (stored && stored->size() > kDigestBytes) {
    std::string program = stored->substr(kDigestBytes);
    if (base::sha256(program) == stored->substr(0, kDigestBytes)) return program;
  }

  std::string program = compile_seccomp_filter(seccomp);
  try {
    base::make_directories(cache_directory, 0700);
    base::replace_file(path, base::sha256(program) + program);
  } catch (const Error&) {
    // A full or read-only disk costs the next start some milliseconds, nothing else.
  }
  return program;
}

}  // namespace vm
