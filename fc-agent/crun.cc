#include "fc-agent/crun.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mount.h"
#include "base/process.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxMessageBytes = 4096;

std::vector<std::string> common_arguments(const Crun& crun, const CrunFiles& files,
                                          const char* command) {
  std::vector<std::string> arguments{
      crun.program, "--root", crun.state_directory, "--log",      files.log, "--log-format",
      "json",       command,  "--detach",           "--pid-file", files.pid};
  if (!files.console_socket.empty()) {
    arguments.insert(arguments.end(), {"--console-socket", files.console_socket});
  }
  return arguments;
}

// The message of an error line; empty for warnings and chatter.
std::string error_of_line(std::string_view line) {
  try {
    const auto entry = base::parse_json(line, 64 * 1024, 4);
    if (!entry.is_object()) return {};
    if (entry.value("level", "error") != "error") return {};
    return entry.value("msg", "");
  } catch (const base::Error&) {
    return std::string(line);
  } catch (const nlohmann::json::exception&) {
    return {};
  }
}

bool contains_any(std::string_view text, std::initializer_list<std::string_view> needles) {
  return std::any_of(needles.begin(), needles.end(), [text](std::string_view needle) {
    return text.find(needle) != std::string_view::npos;
  });
}

}  // namespace

std::vector<std::string> crun_run_arguments(const Crun& crun, const CrunFiles& files,
                                            const std::string& bundle, const std::string& id) {
  auto arguments = common_arguments(crun, files, "run");
  arguments.insert(arguments.end(), {"--bundle", bundle, id});
  return arguments;
}

std::vector<std::string> crun_exec_arguments(const Crun& crun, const CrunFiles& files,
                                             const std::string& id) {
  auto arguments = common_arguments(crun, files, "exec");
  arguments.insert(arguments.end(), {"--process", files.process, id});
  return arguments;
}

CrunFailure classify_crun_failure(std::string_view log, std::string_view fallback) {
  CrunFailure failure;
  while (!log.empty()) {
    const std::string_view line = log.substr(0, log.find('\n'));
    log.remove_prefix(std::min(line.size() + 1, log.size()));
    const std::string message = line.empty() ? std::string() : error_of_line(line);
    if (message.empty()) continue;
    if (!failure.message.empty()) failure.message += "; ";
    failure.message += message;
  }
  if (failure.message.empty()) failure.message = fallback;
  if (failure.message.size() > kMaxMessageBytes) failure.message.resize(kMaxMessageBytes);

  std::string lower = failure.message;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  // podman's rules, in podman's order.
  if (contains_any(lower, {"permission denied", "operation not permitted"})) {
    failure.code = 126;
  } else if (contains_any(lower, {"executable file not found in", "no such file or directory",
                                  "open executable"})) {
    failure.code = 127;
  }
  failure.message = base::cat("crun: ", failure.message);
  return failure;
}

void protect_crun(const std::string& program) {
  try {
    base::mount_fs(program, program, "", MS_BIND);
    base::mount_fs("none", program, "", MS_REMOUNT | MS_BIND | MS_RDONLY);
  } catch (const base::Error& error) {
    base::log_warn(error.what());
  }
}

void warm_up_crun(const base::Fd& root, const Crun& crun) {
  constexpr int kRootFd = 3;
  base::SpawnOptions options;
  options.argv = {crun.program, "--version"};
  options.env.emplace();
  options.new_session = true;
  options.fds = {{root.get(), kRootFd}};
  // SAFETY: between fork and exec: system calls only.
  options.before_exec = [] {
    const bool entered = ::fchdir(kRootFd) == 0 && ::chroot(".") == 0;
    return entered && ::close(kRootFd) == 0 ? 0 : errno;
  };
  try {
    base::ChildProcess::spawn(options).release();
  } catch (const base::Error& error) {
    base::log_info(error.what());
  }
}

}  // namespace fc_agent
