#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/event_loop.h"
#include "base/fd.h"

namespace hypervisor {

// Takes what an untrusted writer sends on `source` (a pipe or socket) and keeps little of it: the
// last `tail_bytes` in memory, and `path` with one older generation `path`.1, `max_file_bytes`
// together. An empty path keeps no file. A file that cannot be written (a full disk) loses output,
// never the machine. Belongs to the loop's thread.
class BoundedLog {
 public:
  BoundedLog(base::EventLoop& loop, base::Fd source, std::string path, std::size_t max_file_bytes,
             std::size_t tail_bytes);
  BoundedLog(const BoundedLog&) = delete;
  BoundedLog& operator=(const BoundedLog&) = delete;

  const std::string& tail() const { return tail_; }
  // Takes what has arrived already, without waiting.
  void drain();

 private:
  // One read; false at the end or when there is nothing now.
  bool read_some();
  void append(std::string_view data);
  void write_file(std::string_view data);
  void open_file();

  base::Fd source_;
  std::string path_;
  std::size_t generation_bytes_;
  std::size_t tail_bytes_;
  base::Fd file_;
  std::size_t file_bytes_ = 0;
  std::string tail_;
  base::EventLoop::Registration watch_;
};

// The last non-empty line of `text`, without control characters, cut to a line's length.
std::string last_line(std::string_view text);

}  // namespace hypervisor
