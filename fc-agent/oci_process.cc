#include "fc-agent/oci_process.h"

#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxConfigBytes = 1 << 20;
constexpr std::string_view kDefaultPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

nlohmann::json& object_in(nlohmann::json& parent, const char* name) {
  auto& member = parent[name];
  if (!member.is_object()) throw base::Error(base::cat("OCI process: '", name, "' is missing"));
  return member;
}

}  // namespace

OciProcess parse_oci_process(std::string_view json) {
  const auto document = base::parse_json(json, kMaxConfigBytes, 32);
  try {
    OciProcess process;
    document.at("args").get_to(process.args);
    if (process.args.empty() || process.args[0].empty()) {
      throw base::Error("OCI process: no program given");
    }
    if (document.contains("env")) document.at("env").get_to(process.env);
    process.cwd = document.value("cwd", "/");
    process.terminal = document.value("terminal", false);
    if (document.contains("user")) {
      const auto& user = document.at("user");
      process.uid = user.value("uid", 0U);
      process.gid = user.value("gid", 0U);
      if (user.contains("additionalGids")) {
        user.at("additionalGids").get_to(process.additional_gids);
      }
    }
    return process;
  } catch (const nlohmann::json::exception& error) {
    throw base::Error(base::cat("OCI process: ", error.what()));
  }
}

std::string with_terminal(std::string_view json, bool in_config, bool terminal, std::uint16_t rows,
                          std::uint16_t columns) {
  auto document = base::parse_json(json, kMaxConfigBytes, 64);
  try {
    if (!document.is_object()) throw base::Error("OCI process: not an object");
    auto& process = in_config ? object_in(document, "process") : document;
    process["terminal"] = terminal;
    if (terminal && rows > 0) process["consoleSize"] = {{"height", rows}, {"width", columns}};
    return document.dump();
  } catch (const nlohmann::json::exception& error) {
    throw base::Error(base::cat("OCI process: ", error.what()));
  }
}

std::string find_executable(const std::string& name, const std::vector<std::string>& env) {
  if (name.find('/') != std::string::npos) return name;
  std::string_view rest = kDefaultPath;
  for (const auto& variable : env) {
    if (variable.starts_with("PATH=")) rest = std::string_view(variable).substr(5);
  }
  std::string denied;
  while (!rest.empty()) {
    const std::string_view folder = rest.substr(0, rest.find(':'));
    rest.remove_prefix(std::min(folder.size() + 1, rest.size()));
    const std::string candidate = base::cat(folder.empty() ? "." : folder, "/", name);
    struct stat info {};
    if (::stat(candidate.c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (denied.empty()) denied = candidate;
  }
  return denied.empty() ? name : denied;
}

}  // namespace fc_agent
