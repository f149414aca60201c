// Reading what vm/monitor/log_file.h writes, while it is being written or long after.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "vm/monitor/log_file.h"
#include "vm/vm_record.h"
#include "vm/vm_store.h"

namespace vm {

// One line of the file: a whole line of output or a piece of one.
struct LogEntry {
  std::string time;  // RFC 3339, as written
  std::int64_t time_ns = 0;
  LogStream stream = LogStream::kStdout;
  bool ends_line = true;
  std::string text;
};
// Empty for a torn line or anything else the monitor has not written.
std::optional<LogEntry> parse_log_entry(std::string_view line);

// "2026-01-31T09:08:07[.5][Z|+01:00]" and shorter forms down to the date (local time without a
// zone), seconds since the epoch ("1700000000.5"), or a duration back from `now_ns` ("10m"):
// nanoseconds since the epoch. Throws base::Error.
std::int64_t parse_log_time(std::string_view text, std::int64_t now_ns);

struct LogSelection {
  std::optional<std::int64_t> since_ns;
  std::optional<std::int64_t> until_ns;
  std::optional<std::size_t> tail;  // the last lines of what the times leave, of both streams
};

// The log of one VM with its rotated predecessor. Not for several threads.
class LogReader {
 public:
  LogReader(std::string path, LogSelection selection);

  using Take = std::function<void(const LogEntry&)>;
  // Hands over what has come since the last call; the first call everything that is selected. A
  // line that is not whole yet waits for its end. A log that is not there yet is empty. Throws
  // base::Error for I/O errors.
  void read(const Take& take);
  // An entry later than `until_ns` was seen: nothing more will be selected.
  bool past_end() const { return past_end_; }

 private:
  // One file and what has been read of its last, incomplete line.
  struct File {
    base::Fd fd;
    std::string rest;
  };
  void open_first();
  bool follow_rotation();
  void drain(File& file, const Take& take);
  void select(std::string_view line, const Take& take);
  void hand_over_tail(const Take& take);

  std::string path_;
  LogSelection selection_;
  std::deque<File> files_;  // oldest first; the last one is being written
  bool past_end_ = false;
  bool tail_done_ = false;
  // Lines of output as lists of their pieces; a line that has not ended is named by its stream.
  using Line = std::shared_ptr<std::vector<LogEntry>>;
  std::deque<Line> tail_lines_;
  std::array<Line, 2> unfinished_;
};

// Wakes a reader up: when one of the logs has grown or one of the VMs has ended.
class LogWatch {
 public:
  LogWatch(const VmStore& store, const std::vector<VmRecord>& vms);
  // Blocks until there may be something new. A signal ends the wait early.
  void wait();
  // Everything this VM will ever write is in its log.
  bool ended(const VmRecord& vm) const;

 private:
  void watch(const std::string& path, std::uint32_t events);
  void watch_logs();

  const VmStore& store_;
  base::Fd inotify_;
  bool blind_;  // not everything can be watched: looking once a second has to do
  std::vector<std::string> logs_;
  std::vector<base::Fd> monitors_;  // pidfds
};

}  // namespace vm
