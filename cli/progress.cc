#include "cli/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/error.h"

namespace cli {
namespace {

constexpr unsigned kBarWidth = 24;

bool is_capable_terminal(int fd) {
  const char* term = ::getenv("TERM");
  return ::isatty(fd) == 1 && (term == nullptr || std::strcmp(term, "dumb") != 0);
}

unsigned columns_of(int fd) {
  winsize size{};
  // SAFETY: TIOCGWINSZ fills a winsize (ioctl_tty(2)).
  return ::ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : 80;
}

std::string amount(std::uint64_t value, image::ProgressUnit unit) {
  if (unit != image::ProgressUnit::kBytes) return std::to_string(value);
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", static_cast<double>(value) / (1 << 20));
  return text;
}

}  // namespace

ProgressDisplay::ProgressDisplay(Clock::duration quiet)
    : ProgressDisplay(quiet, STDERR_FILENO, is_capable_terminal(STDERR_FILENO),
                      columns_of(STDERR_FILENO)) {}

ProgressDisplay::ProgressDisplay(Clock::duration quiet, int fd, bool terminal, unsigned columns)
    : quiet_(quiet), fd_(fd), terminal_(terminal), columns_(columns) {}

image::ProgressCallback ProgressDisplay::callback() {
  return [this](const image::Progress& progress) { show(progress); };
}

void ProgressDisplay::write(const std::string& text) const noexcept {
  std::string_view left = text;
  while (!left.empty()) {
    const ssize_t n = ::write(fd_, left.data(), left.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    left.remove_prefix(static_cast<std::size_t>(n));
  }
}

void ProgressDisplay::show(const image::Progress& progress) {
  if (Clock::now() - begin_ < quiet_) return;
  if (terminal_) {
    drawn_ = true;
    write("\r\x1b[K" + progress_line(progress, columns_));
  } else if (progress.stage != stage_) {
    write(progress.stage + '\n');
  }
  stage_ = progress.stage;
}

void ProgressDisplay::finish() noexcept {
  if (std::exchange(drawn_, false)) write("\r\x1b[K");
}

std::string progress_line(const image::Progress& progress, unsigned columns) {
  std::string line = progress.stage;
  if (progress.total != 0) {
    const std::uint64_t done = std::min(progress.done, progress.total);
    const double part = static_cast<double>(done) / static_cast<double>(progress.total);
    const auto full = static_cast<std::size_t>(part * kBarWidth);
    line += base::cat("  [", std::string(full, '#'), std::string(kBarWidth - full, '-'), "] ",
                      static_cast<int>(part * 100), "%");
  }
  if (progress.unit != image::ProgressUnit::kNone && (progress.done != 0 || progress.total != 0)) {
    line += "  " + amount(progress.done, progress.unit);
    if (progress.total != 0) line += '/' + amount(progress.total, progress.unit);
    if (progress.unit == image::ProgressUnit::kBytes) line += " MiB";
  }
  // The last column stays free: a full line would wrap and could not be redrawn.
  if (columns > 1 && line.size() >= columns) line.resize(columns - 1);
  return line;
}

}  // namespace cli
