#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/error.h"
#include "base/json.h"
#include "vm/bundle.h"
#include "vm/capabilities.h"
#include "vm/detail/bundle_process.h"
#include "vm/flag_parsers.h"

namespace vm {
namespace detail {
namespace {

using base::Error;
using nlohmann::json;

constexpr std::uint32_t kUmask = 022;
constexpr std::uint64_t kDefaultLimit =
    1048576;  // podman's for nofile, and for nproc beside --ulimit

std::vector<std::string> resolve_command(const image::ImageConfig& image,
                                         const RunOptions& options) {
  std::vector<std::string> command = options.entrypoint ? *options.entrypoint : image.entrypoint;
  // An entrypoint of the user's makes the image's CMD void: it was written for the other one.
  const bool use_image_cmd = options.command.empty() && !options.entrypoint;
  const auto& arguments = use_image_cmd ? image.cmd : options.command;
  command.insert(command.end(), arguments.begin(), arguments.end());
  if (command.empty()) {
    throw Error("no command or entrypoint provided, and no CMD or ENTRYPOINT from image");
  }
  return command;
}

std::vector<std::string> resolve_bounding(const image::ImageConfig& image,
                                          const RunOptions& options, const GuestFacts& facts) {
  const std::vector<std::string> all = all_capabilities(facts.last_capability);
  if (options.privileged) return all;
  std::vector<std::string> bounding =
      merge_capabilities(default_capabilities(), options.cap_add, options.cap_drop, all);

  // An image may say that it needs less; what it says beyond what it would get is void.
  const std::string label = "io.containers.capabilities";
  std::string wanted;
  if (const auto found = image.labels.find(label); found != image.labels.end()) {
    wanted = found->second;
  }
  if (const auto found = options.labels.find(label); found != options.labels.end()) {
    wanted = found->second;
  }
  if (!wanted.empty()) {
    const std::vector<std::string> needed = merge_capabilities({}, split_commas(wanted), {}, all);
    if (std::includes(bounding.begin(), bounding.end(), needed.begin(), needed.end())) {
      bounding = needed;
    }
  }
  return bounding;
}

// podman decides by the text, not by the id.
bool names_root(std::string_view user_spec) {
  const std::string_view user = user_spec.substr(0, user_spec.find(':'));
  return user.empty() || user == "root" || user == "0";
}

void put(json& object, const char* key, const std::vector<std::string>& values) {
  if (!values.empty()) object[key] = values;
}

json capabilities_json(const RunOptions& options, const GuestFacts& facts,
                       const ProcessParts& parts) {
  json out = json::object();
  put(out, "bounding", parts.bounding);
  if (names_root(parts.user_spec)) {
    put(out, "effective", parts.bounding);
    put(out, "permitted", parts.bounding);
    return out;
  }
  // Another user gets only what was asked for, kept over execve(2) by the ambient set.
  const std::vector<std::string> own =
      merge_capabilities({}, options.cap_add, {}, all_capabilities(facts.last_capability));
  for (const char* set : {"effective", "permitted", "inheritable", "ambient"}) put(out, set, own);
  return out;
}

json rlimits_json(const RunOptions& options, const GuestFacts& facts) {
  json out = json::array();
  if (options.ulimit_host) return out;
  std::vector<Ulimit> limits;
  const auto set = [&](const Ulimit& limit, bool replace) {
    const auto found = std::find_if(limits.begin(), limits.end(),
                                    [&](const Ulimit& other) { return other.name == limit.name; });
    if (found == limits.end()) {
      limits.push_back(limit);
    } else if (replace) {
      *found = limit;
    }
  };
  for (const Ulimit& limit : options.ulimits) set(limit, true);
  const std::uint64_t processes = options.ulimits.empty() ? facts.pid_max : kDefaultLimit;
  set({"nofile", kDefaultLimit, kDefaultLimit}, false);
  set({"nproc", processes, processes}, false);
  for (const Ulimit& limit : limits) {
    std::string type = "RLIMIT_";
    for (char c : limit.name) type += static_cast<char>(c - 'a' + 'A');
    out.push_back({{"type", type}, {"soft", limit.soft}, {"hard", limit.hard}});
  }
  return out;
}

// Without HOME and HOSTNAME, which belong to the first process and not to later ones.
std::map<std::string, std::string> base_environment(const image::ImageConfig& image,
                                                    const RunOptions& options) {
  std::map<std::string, std::string> env = {
      {"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
      {"TERM", "xterm"},
      {"container", "podman"}};
  for (const std::string& entry : image.env) {
    const std::size_t equals = entry.find('=');
    if (equals == 0 || entry.empty()) continue;
    env[entry.substr(0, equals)] = equals == std::string::npos ? "" : entry.substr(equals + 1);
  }
  for (const auto& [name, value] : options.env) env[name] = value;
  return env;
}

json environment_json(const std::map<std::string, std::string>& env) {
  json out = json::array();
  for (const auto& [name, value] : env) out.push_back(name + "=" + value);
  return out;
}

}  // namespace

ProcessParts resolve_process(const image::ImageMeta& image, const RunOptions& options,
                             const GuestFacts& facts) {
  ProcessParts parts;
  parts.command = resolve_command(image.config, options);
  parts.hostname = options.hostname.empty() ? facts.vm_id.substr(0, 12) : options.hostname;
  parts.bounding = resolve_bounding(image.config, options, facts);

  if (!options.workdir.empty()) {
    if (options.workdir.front() != '/') {
      throw Error(base::cat("workdir ", base::quoted(options.workdir), " is not an absolute path"));
    }
    parts.working_dir = clean_absolute_path(options.workdir);
  } else {
    parts.working_dir = clean_absolute_path(image.config.working_dir);
    parts.working_dir_from_image = true;
  }

  parts.user_spec = options.user.empty() ? image.config.user : options.user;
  parts.user = base::lookup_user(parts.user_spec, image.passwd, image.group);
  parts.user_lines =
      base::missing_user_lines(parts.user_spec, image.passwd, image.group, parts.working_dir);
  return parts;
}

json process_json(const image::ImageMeta& image, const RunOptions& options, const GuestFacts& facts,
                  const ProcessParts& parts) {
  json out;
  if (options.tty) out["terminal"] = true;

  out["user"] = {{"uid", parts.user.uid}, {"gid", parts.user.gid}, {"umask", kUmask}};
  std::vector<std::uint32_t> groups;
  if (!parts.user_spec.empty()) groups.push_back(parts.user.gid);
  // A colon, even with nothing behind it, names the group: no others then.
  const bool names_group = parts.user_spec.find(':') != std::string::npos;
  for (std::uint32_t group : parts.user.groups) {
    if (names_group) break;
    if (std::find(groups.begin(), groups.end(), group) == groups.end()) groups.push_back(group);
  }
  if (!groups.empty()) out["user"]["additionalGids"] = groups;

  std::vector<std::string> args = parts.command;
  if (options.init) args.insert(args.begin(), {std::string(kInitInContainer), "--"});
  out["args"] = std::move(args);

  auto env = base_environment(image.config, options);
  env.try_emplace("HOSTNAME", parts.hostname);
  if (!parts.user.home.empty()) env.try_emplace("HOME", parts.user.home);
  out["env"] = environment_json(env);

  out["cwd"] = parts.working_dir;
  out["capabilities"] = capabilities_json(options, facts, parts);
  if (json limits = rlimits_json(options, facts); !limits.empty()) {
    out["rlimits"] = std::move(limits);
  }
  return out;
}

std::string exec_base_json(const image::ImageMeta& image, const RunOptions& options,
                           const GuestFacts& facts, const ProcessParts& parts) {
  const json out = {{"user", parts.user_spec},
                    {"env", base_environment(image.config, options)},
                    {"cwd", parts.working_dir},
                    {"capabilities", capabilities_json(options, facts, parts)},
                    {"last_capability", facts.last_capability},
                    {"rlimits", rlimits_json(options, facts)}};
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace detail

std::string make_exec_process(std::string_view exec_base, const ExecOptions& options) {
  using nlohmann::json;
  if (options.command.empty()) throw base::Error("no command is given");
  const json base_object = base::parse_json(exec_base);
  try {
    json out;
    if (options.tty) out["terminal"] = true;
    out["args"] = options.command;
    out["cwd"] =
        options.workdir.empty() ? base_object.at("cwd").get<std::string>() : options.workdir;

    const auto container_user = base_object.at("user").get<std::string>();
    const std::string& user_spec = options.user.empty() ? container_user : options.user;

    auto env = base_object.at("env").get<std::map<std::string, std::string>>();
    for (const auto& [name, value] : options.env) env[name] = value;
    out["env"] = detail::environment_json(env);

    json common = base_object.at("capabilities");
    common.erase("inheritable");
    if (options.privileged) {
      common["bounding"] = all_capabilities(base_object.at("last_capability").get<int>());
    }
    // Which of the two it is only the container's own files will tell.
    json of_root = common;
    of_root["effective"] = of_root["permitted"] = common.value("bounding", json::array());
    json of_other = common;
    if (user_spec == container_user) {
      for (const char* set : {"inheritable", "permitted", "ambient"}) {
        of_other[set] = common.value("effective", json::array());
      }
    }
    for (json* capabilities : {&of_root, &of_other}) {
      for (const char* set : {"bounding", "effective", "permitted", "inheritable", "ambient"}) {
        if (capabilities->contains(set) && (*capabilities)[set].empty()) capabilities->erase(set);
      }
    }
    out["resolve_user"] = {
        {"user", user_spec}, {"root_capabilities", of_root}, {"other_capabilities", of_other}};
    if (!base_object.at("rlimits").empty()) out["rlimits"] = base_object.at("rlimits");
    return out.dump(-1, ' ', false, json::error_handler_t::replace);
  } catch (const json::exception& error) {
    throw base::Error(base::cat("reading what exec inherits from the container: ", error.what()));
  }
}

}  // namespace vm
