#include "fc-agent/exec_user.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/user_lookup.h"
#include "fc-agent/root_edits.h"

namespace fc_agent {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxProcessBytes = 1 << 20;

void set_home(json& env, const std::string& home) {
  const bool has = std::any_of(env.begin(), env.end(), [](const json& variable) {
    return variable.get_ref<const std::string&>().starts_with("HOME=");
  });
  // As under podman: a user whom the file does not name lives in the root folder.
  if (!has) env.push_back("HOME=" + (home.empty() ? "/" : home));
}

}  // namespace

std::string with_user(std::string_view process_json, const std::string& root) {
  json process = base::parse_json(process_json, kMaxProcessBytes);
  try {
    if (!process.contains("resolve_user")) return std::string(process_json);
    const json wanted = std::move(process.at("resolve_user"));
    process.erase("resolve_user");
    const auto spec = wanted.at("user").get<std::string>();
    const base::UserInfo user =
        base::lookup_user(spec, read_inside(root, "/etc/passwd", base::kMaxUserFileBytes),
                          read_inside(root, "/etc/group", base::kMaxUserFileBytes));
    process["user"] = {{"uid", user.uid}, {"gid", user.gid}};
    if (!spec.empty() && !user.groups.empty()) process["user"]["additionalGids"] = user.groups;
    process["capabilities"] = wanted.at(user.uid == 0 ? "root_capabilities" : "other_capabilities");
    if (!process.contains("env")) process["env"] = json::array();
    set_home(process.at("env"), user.home);
    return process.dump(-1, ' ', false, json::error_handler_t::replace);
  } catch (const json::exception& error) {
    throw base::Error(base::cat("reading a process object: ", error.what()));
  }
}

}  // namespace fc_agent
