#include "vm/monitor/log_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "vm/clock.h"

namespace vm {

std::string rfc3339_nano(std::int64_t ns) {
  const time_t seconds = static_cast<time_t>(ns / 1'000'000'000);
  tm parts{};
  ::gmtime_r(&seconds, &parts);
  std::array<char, 80> text;
  const int n =
      std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%09lldZ",
                    parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour,
                    parts.tm_min, parts.tm_sec, static_cast<long long>(ns % 1'000'000'000));
  return {text.data(), static_cast<std::size_t>(n)};
}

LogFile::LogFile(std::string path) : path_(std::move(path)) {}

void LogFile::open() {
  if (fd_) return;
  fd_ = base::open_file(path_, O_WRONLY | O_CREAT | O_APPEND, 0600);
  struct stat info {};
  if (::fstat(fd_.get(), &info) == 0) size_ = static_cast<std::uint64_t>(info.st_size);
}

void LogFile::rotate() {
  // The new file first: should it fail, the old one is still open and is written on.
  const std::string next = path_ + ".next";
  base::Fd fd = base::open_file(next, O_WRONLY | O_CREAT | O_APPEND | O_TRUNC, 0600);
  if (::rename(path_.c_str(), (path_ + ".1").c_str()) != 0 && errno != ENOENT) {
    base::throw_errno("rotating", path_);
  }
  if (::rename(next.c_str(), path_.c_str()) != 0) base::throw_errno("rotating", path_);
  fd_ = std::move(fd);
  size_ = 0;
}

void LogFile::write(LogStream stream, std::string_view data) noexcept {
  try {
    const std::string prefix = base::cat(rfc3339_nano(wall_clock_ns()),
                                         stream == LogStream::kStdout ? " stdout " : " stderr ");
    std::string text;
    text.reserve(data.size() + 256);
    if (torn_) text += '\n';
    while (!data.empty()) {
      const auto newline = data.find('\n');
      const bool full = newline != std::string_view::npos;
      text += prefix;
      text += full ? "F " : "P ";
      text += data.substr(0, newline);
      text += '\n';
      data.remove_prefix(full ? newline + 1 : data.size());
    }
    open();
    if (size_ + text.size() > kRotateBytes && size_ != 0) {
      // A log that cannot be rotated grows: better than one that ends.
      try {
        rotate();
      } catch (const base::Error& error) {
        if (!std::exchange(unrotated_, true)) base::log_error(error.what());
      }
    }
    const ssize_t n = ::write(fd_.get(), text.data(), text.size());
    if (n > 0) size_ += static_cast<std::uint64_t>(n);
    if (n != static_cast<ssize_t>(text.size())) {
      torn_ = torn_ || n > 0;
      throw base::Error(n < 0 ? errno : ENOSPC, "writing", path_);
    }
    torn_ = false;
    failing_ = false;
  } catch (const std::exception& error) {
    if (!std::exchange(failing_, true)) base::log_error(error.what());
  }
}

}  // namespace vm
