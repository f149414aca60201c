#include "fc-agent/console.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/version.h"

namespace fc_agent {
namespace {

struct KernelLog {
  std::mutex mutex;
  base::Fd fd;
  std::chrono::steady_clock::time_point window_start{};
  int lines_in_window = 0;
  std::size_t dropped = 0;
};

KernelLog& kernel_log() {
  static KernelLog log;
  return log;
}

// Levels of syslog(3), as /dev/kmsg wants them in angle brackets.
int kernel_level(base::LogLevel level) {
  switch (level) {
    case base::LogLevel::kError:
      return 3;
    case base::LogLevel::kWarn:
      return 4;
    case base::LogLevel::kInfo:
      return 6;
    default:
      return 7;
  }
}

void write_kernel_line(const base::Fd& fd, base::LogLevel level, std::string_view message) {
  // One write is one record; the kernel cuts records at about 1 KiB.
  constexpr std::size_t kMaxBytes = 900;
  std::string line =
      base::cat("<", kernel_level(level), ">fc-agent: ", message.substr(0, kMaxBytes));
  std::replace(line.begin(), line.end(), '\n', ' ');
  [[maybe_unused]] const ssize_t n = ::write(fd.get(), line.data(), line.size());
}

void to_kernel(base::LogLevel level, std::string_view message) {
  KernelLog& log = kernel_log();
  const std::lock_guard lock(log.mutex);
  const auto now = std::chrono::steady_clock::now();
  if (now - log.window_start > std::chrono::seconds(10)) {
    log.window_start = now;
    log.lines_in_window = 0;
    if (log.dropped > 0) {
      write_kernel_line(log.fd, base::LogLevel::kWarn,
                        base::cat(log.dropped, " log lines were dropped"));
      log.dropped = 0;
    }
  }
  if (log.lines_in_window >= kLogLinesPerWindow) {
    ++log.dropped;
    return;
  }
  ++log.lines_in_window;
  write_kernel_line(log.fd, level, message);
}

}  // namespace

void announce_start() {
  const std::string line = base::cat("fc-agent ", base::kVersion, ": started\n");
  [[maybe_unused]] const ssize_t n = ::write(STDOUT_FILENO, line.data(), line.size());
}

void set_up_stdio() {
  const int null_fd = ::open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
  const int console_fd = ::open("/dev/console", O_RDWR | O_NOCTTY | O_CLOEXEC);
  for (int target = 0; target < 3; ++target) {
    const int source = target > 0 && console_fd >= 0 ? console_fd : null_fd;
    if (source >= 0 && source != target) ::dup2(source, target);
  }
  if (null_fd > 2) ::close(null_fd);
  if (console_fd > 2) ::close(console_fd);
}

void log_to_kernel() {
  KernelLog& log = kernel_log();
  log.fd = base::try_open_file("/dev/kmsg", O_WRONLY);
  if (log.fd) base::set_log_sink(to_kernel);
}

}  // namespace fc_agent
