#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/fd.h"

namespace vm {

enum class LogStream { kStdout, kStderr };

// The container's log in Podman's "k8s-file" format: `<RFC 3339 with nanoseconds> stdout|stderr F|P
// <text>`, where P marks a piece of a line whose end comes later. When the file has grown to
// kRotateBytes it becomes `<path>.1` (the one before is dropped) and a new one begins. A log that
// cannot be written (disk full) loses lines, never the container: the first loss is reported through
// base::log and writing resumes when it can. One that cannot be rotated grows.
class LogFile {
 public:
  static constexpr std::uint64_t kRotateBytes = 32ULL << 20;

  // Appends to `path` (0600), once open() has opened it or the first line is written.
  explicit LogFile(std::string path);
  // Throws base::Error; nothing happens when it is open.
  void open();
  void write(LogStream stream, std::string_view data) noexcept;

 private:
  void rotate();

  std::string path_;
  base::Fd fd_;
  std::uint64_t size_ = 0;
  bool torn_ = false;       // the last write was cut short: the next begins with a newline
  bool unrotated_ = false;  // that rotation fails was reported
  bool failing_ = false;    // a loss was reported and nothing has been written since
};

// "2026-01-31T09:08:07.000000000Z" for nanoseconds since the epoch.
std::string rfc3339_nano(std::int64_t ns);

}  // namespace vm
