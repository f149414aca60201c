#include "image/skopeo.h"

#include <sys/resource.h>

#include <cerrno>
#include <csignal>

#include "base/error.h"
#include "base/process.h"
#include "image/detail/environment.h"
#include "image/image_config.h"
#include "image/user_namespace.h"

namespace image {
namespace {

// One name for all: an image is found by its id.
constexpr char kStoredName[] = "localhost/image:latest";

std::string run_skopeo(std::vector<std::string> arguments, const SkopeoOptions& options,
                       std::size_t max_output_bytes) {
  base::SpawnOptions spawn;
  spawn.argv = user_namespace_prefix();
  // The policy of the host is about where images may be pulled from; these are files the user named.
  spawn.argv.insert(spawn.argv.end(),
                    {"skopeo", "--insecure-policy", "--tmpdir", options.work_directory});
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
  const std::string reason = skopeo_reason(result.err);
  // EFBIG, the answer to RLIMIT_FSIZE, as Go words it.
  if (reason.find("file too large") != std::string::npos) {
    throw base::Error(
        base::cat("it unpacks to more than ", options.max_file_bytes >> 20, " MiB, the limit"));
  }
  base::Error error(reason);
  if (reason.find("no space left on device") != std::string::npos) {
    error.set_hint("free some space in the data directory");
  }
  throw error;
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
  return run_skopeo({"inspect", "--config", "--raw", reference.skopeo_name()}, options,
                    kMaxImageConfigBytes);
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
  run_skopeo({"copy", "--quiet", reference.skopeo_name(),
              base::cat("containers-storage:[", layout.driver, "@", layout.root, "+", layout.run,
                        driver_options, "]", kStoredName)},
             options, 1 << 20);
}

}  // namespace image
