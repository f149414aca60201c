#include "image/skopeo.h"

#include <sys/resource.h>

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "image/detail/environment.h"
#include "image/image_config.h"
#include "image/user_namespace.h"

namespace image {
namespace {

// One name for all: an image is found by its id.
constexpr char kStoredName[] = "localhost/image:latest";

// The host's policy (containers-policy.json(5)) is about where images may be pulled from: files the
// user named are not asked, nor is a policy that is not there.
bool policy_counts(const Reference& reference) {
  if (reference.transport != Transport::kRegistry) return false;
  const char* home = std::getenv("HOME");
  return base::path_exists("/etc/containers/policy.json") ||
         (home != nullptr && base::path_exists(base::cat(home, "/.config/containers/policy.json")));
}

// The flags of a source; `prefix` is "src-" with `skopeo copy`.
std::vector<std::string> source_flags(const Reference& reference, const std::string& prefix,
                                      const SkopeoOptions& options) {
  std::vector<std::string> flags;
  if (!policy_counts(reference)) flags.emplace_back("--insecure-policy");
  if (reference.transport == Transport::kRegistry) {
    // podman reads this variable, skopeo does not.
    if (const char* conf = std::getenv("CONTAINERS_REGISTRIES_CONF");
        conf != nullptr && *conf != '\0') {
      flags.insert(flags.end(), {"--registries-conf", conf});
    }
    std::string authfile = options.authfile;
    if (authfile.empty() && ::geteuid() != 0 && std::getenv("XDG_RUNTIME_DIR") == nullptr) {
      // In the user namespace skopeo is root and would look into root's.
      authfile = base::cat("/run/containers/", ::geteuid(), "/auth.json");
      if (!base::path_exists(authfile)) authfile.clear();
    }
    if (!authfile.empty()) flags.insert(flags.end(), {"--authfile", authfile});
    if (options.tls_verify) {
      flags.push_back(
          base::cat("--", prefix, "tls-verify=", *options.tls_verify ? "true" : "false"));
    }
  }
  if (reference.transport == Transport::kDockerDaemon) {
    if (const char* host = std::getenv("DOCKER_HOST"); host != nullptr && *host != '\0') {
      flags.insert(flags.end(), {base::cat("--", prefix, "daemon-host"), host});
    }
  }
  return flags;
}

base::Error error_of(std::string reason, const SkopeoOptions& options) {
  // The name stands in our own context.
  if (reason.starts_with("Error parsing image name \"")) {
    if (const auto end = reason.find("\": "); end != std::string::npos) reason.erase(0, end + 3);
  }
  const auto said = [&](std::string_view text) { return reason.find(text) != std::string::npos; };
  // EFBIG, the answer to RLIMIT_FSIZE, as Go words it.
  if (said("file too large")) {
    return base::Error(
        base::cat("it unpacks to more than ", options.max_file_bytes >> 20, " MiB, the limit"));
  }
  base::Error error(reason);
  if (said("no space left on device")) error.set_hint("free some space in the data directory");
  if (said("unauthorized") || said("authentication required") || said("denied")) {
    error.set_hint("log in with podman login, or give --authfile or --creds USER:PASSWORD");
  }
  if (said("server gave HTTP response to HTTPS client")) {
    error.set_hint("a registry without TLS needs --tls-verify=false");
  }
  if (said("docker daemon")) error.set_hint("is dockerd running, and DOCKER_HOST right?");
  return error;
}

std::string run_skopeo(std::vector<std::string> arguments, const SkopeoOptions& options,
                       std::size_t max_output_bytes) {
  base::SpawnOptions spawn;
  spawn.argv = user_namespace_prefix();
  spawn.argv.insert(spawn.argv.end(), {"skopeo", "--tmpdir", options.work_directory});
  for (const auto& [flag, value] : {std::pair{"--override-os", &options.platform.os},
                                    std::pair{"--override-arch", &options.platform.architecture},
                                    std::pair{"--override-variant", &options.platform.variant}}) {
    if (!value->empty()) spawn.argv.insert(spawn.argv.end(), {flag, *value});
  }
  spawn.argv.insert(spawn.argv.end(), arguments.begin(), arguments.end());
  spawn.env = detail::environment_with({{"TMPDIR", options.work_directory}, {"LC_ALL", "C"}});
  spawn.parent_death_signal = SIGKILL;
  if (options.max_file_bytes != 0) {
    spawn.before_exec = [limit = options.max_file_bytes] {
      // SAFETY: after fork; setrlimit is a plain system call.
      const struct rlimit file_size { limit, limit };
      return ::setrlimit(RLIMIT_FSIZE, &file_size) == 0 ? 0 : errno;
    };
  }
  base::CommandOptions command;
  command.timeout = std::chrono::hours(2);
  command.max_output_bytes = max_output_bytes;
  command.cancellation = options.cancellation;
  command.tick = options.tick;
  base::CommandResult result;
  try {
    result = base::run_command(std::move(spawn), command);
  } catch (base::Error& error) {
    if (error.errnum() == ENOENT) error.set_hint("install the package skopeo");
    throw;
  }
  if (result.status.success()) return std::move(result.out);
  if (result.status.signal != 0) {
    throw base::Error(base::cat("skopeo was ended by signal ", result.status.signal));
  }
  throw error_of(skopeo_reason(result.err), options);
}

}  // namespace

std::string skopeo_reason(const std::string& text) {
  std::string lines = text;
  while (!lines.empty() && lines.back() == '\n') lines.pop_back();
  const std::string last = lines.substr(lines.rfind('\n') + 1);
  constexpr std::string_view kKey = " msg=\"";
  const auto start = last.find(kKey);
  if (start == std::string::npos) return last.empty() ? "skopeo failed" : last;
  std::string reason;
  for (std::size_t i = start + kKey.size(); i < last.size() && last[i] != '"'; ++i) {
    if (last[i] == '\\' && i + 1 < last.size()) {
      ++i;
      reason += last[i] == 'n' || last[i] == 't' ? ' ' : last[i];
    } else {
      reason += last[i];
    }
  }
  return reason;
}

std::string read_image_config(const Reference& reference, const SkopeoOptions& options) {
  std::vector<std::string> arguments{"inspect", "--config", "--raw"};
  for (auto& flag : source_flags(reference, "", options)) arguments.push_back(std::move(flag));
  arguments.push_back(reference.skopeo_name());
  return run_skopeo(std::move(arguments), options, kMaxImageConfigBytes);
}

void unpack_image(const Reference& reference, const StorageLayout& layout,
                  const SkopeoOptions& options) {
  std::string driver_options;
  if (layout.driver == "overlay") {
    // Without it skopeo bind-mounts the root on itself and leaves that behind.
    driver_options = ":overlay.skip_mount_home=true";
  } else if (user_namespace_is_single_id()) {
    driver_options = base::cat(":", layout.driver, ".ignore_chown_errors=true");
  }
  std::vector<std::string> arguments{"copy", "--quiet"};
  for (auto& flag : source_flags(reference, "src-", options)) arguments.push_back(std::move(flag));
  arguments.push_back(reference.skopeo_name());
  arguments.push_back(base::cat("containers-storage:[", layout.driver, "@", layout.root, "+",
                                layout.run, driver_options, "]", kStoredName));
  run_skopeo(std::move(arguments), options, 1 << 20);
}

}  // namespace image
