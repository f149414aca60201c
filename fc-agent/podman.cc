#include "fc-agent/podman.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/process.h"

namespace fc_agent {
namespace {

constexpr std::size_t kIdDigits = 64;
constexpr std::size_t kMaxConfigBytes = 4 << 20;
constexpr std::size_t kMaxMessageBytes = 4096;

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

bool is_container_id(std::string_view text) {
  return text.size() == kIdDigits &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

void replace_link(const std::string& target, const std::string& path) {
  base::make_directories(folder_of(path), 0700);
  ::unlink(path.c_str());
  if (::symlink(target.c_str(), path.c_str()) != 0) base::throw_errno("making link", path);
}

}  // namespace

std::vector<std::string> podman_command(const Podman& podman,
                                        const std::vector<std::string>& arguments) {
  std::vector<std::string> command{podman.program, "--conmon", podman.conmon};
  const auto id = base::try_read_file(podman.container_id_file, kIdDigits + 1);
  if (id && is_container_id(*id)) {
    command.insert(command.end(), {"start", *id});
  } else {
    command.insert(command.end(), arguments.begin(), arguments.end());
  }
  return command;
}

void remember_podman_container(const Podman& podman, const std::string& id,
                               std::string_view config) {
  if (!is_container_id(id)) throw base::Error("podman: it made a container without an id");
  std::string root;
  try {
    root = base::parse_json(config, kMaxConfigBytes).at("root").at("path").get<std::string>();
  } catch (const nlohmann::json::exception& error) {
    throw base::Error(base::cat("podman: the container's configuration: ", error.what()));
  }
  replace_link(root, podman.root_link);
  base::make_directories(folder_of(podman.container_id_file));
  base::replace_file(podman.container_id_file, id);
}

void set_podman_host_name(const std::string& bundle, const std::string& host_name) {
  const std::string path = bundle + "/config.json";
  try {
    auto config = base::parse_json(base::read_file(path, kMaxConfigBytes), kMaxConfigBytes);
    const std::string old_name = config.value("hostname", "");
    if (old_name.empty() || old_name == host_name) return;
    config["hostname"] = host_name;
    for (auto& variable : config.at("process").at("env")) {
      if (variable == "HOSTNAME=" + old_name) variable = "HOSTNAME=" + host_name;
    }
    // Podman's own file, made for this start; one that the user has bound says something else.
    for (const auto& mount : config.at("mounts")) {
      if (mount.at("destination") != "/etc/hostname") continue;
      const auto source = mount.at("source").get<std::string>();
      if (base::read_file(source) == old_name + "\n")
        base::write_file(source, host_name + "\n", 0644);
    }
    base::replace_file(path, config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } catch (const nlohmann::json::exception& error) {
    throw base::Error(base::cat("podman: the container's configuration: ", error.what()));
  }
}

std::string podman_failure(std::string_view output, std::string_view fallback) {
  while (!output.empty() && output.back() == '\n') output.remove_suffix(1);
  std::string_view line = output.substr(output.rfind('\n') + 1);
  constexpr std::string_view kPrefix = "Error: ";
  if (line.starts_with(kPrefix)) line.remove_prefix(kPrefix.size());
  if (line.empty()) line = fallback;
  return base::cat("podman: ", line.substr(0, kMaxMessageBytes));
}

void link_conmon(const Podman& podman) {
  // The path of this program is below the root now, out of reach; its process leads to it.
  replace_link("/proc/1/exe", podman.conmon);
}

}  // namespace fc_agent
