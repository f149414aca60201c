#include "vm/log_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "base/error.h"
#include "base/process.h"
#include "vm/flag_parsers.h"

namespace vm {
namespace {

constexpr std::int64_t kNsPerSecond = 1'000'000'000;
// A line without end must not be gathered without end.
constexpr std::size_t kMaxLineBytes = 1 << 20;

bool take_number(std::string_view& text, std::size_t digits, int& value) {
  if (text.size() < digits) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + digits, value);
  if (error != std::errc() || end != text.data() + digits || value < 0) return false;
  text.remove_prefix(digits);
  return true;
}

bool take_char(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// ".5" as nanoseconds; digits beyond the ninth count for nothing.
bool take_fraction(std::string_view& text, std::int64_t& ns) {
  ns = 0;
  if (!take_char(text, '.')) return true;
  std::int64_t unit = kNsPerSecond / 10;
  std::size_t digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9'; text.remove_prefix(1)) {
    ns += (text.front() - '0') * unit;
    unit /= 10;
    ++digits;
  }
  return digits > 0;
}

std::optional<std::int64_t> parse_date_time(std::string_view text) {
  tm parts{};
  int year = 0;
  int month = 0;
  if (!take_number(text, 4, year) || !take_char(text, '-') || !take_number(text, 2, month) ||
      !take_char(text, '-') || !take_number(text, 2, parts.tm_mday)) {
    return std::nullopt;
  }
  std::int64_t fraction = 0;
  if (take_char(text, 'T') || take_char(text, ' ')) {
    if (!take_number(text, 2, parts.tm_hour) || !take_char(text, ':') ||
        !take_number(text, 2, parts.tm_min)) {
      return std::nullopt;
    }
    if (take_char(text, ':') &&
        (!take_number(text, 2, parts.tm_sec) || !take_fraction(text, fraction))) {
      return std::nullopt;
    }
  }
  if (month < 1 || month > 12 || parts.tm_mday < 1 || parts.tm_mday > 31 || parts.tm_hour > 23 ||
      parts.tm_min > 59 || parts.tm_sec > 60) {
    return std::nullopt;
  }
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  parts.tm_isdst = -1;
  std::int64_t seconds = 0;
  if (text.empty()) {
    seconds = ::mktime(&parts);
  } else if (text == "Z" || text == "z") {
    seconds = ::timegm(&parts);
  } else {
    const int sign = text.front() == '-' ? -1 : 1;
    int hours = 0;
    int minutes = 0;
    if (!take_char(text, '+') && !take_char(text, '-')) return std::nullopt;
    if (!take_number(text, 2, hours) || !take_char(text, ':') || !take_number(text, 2, minutes) ||
        !text.empty()) {
      return std::nullopt;
    }
    seconds = ::timegm(&parts) - sign * (hours * 3600 + minutes * 60);
  }
  return seconds * kNsPerSecond + fraction;
}

std::optional<std::int64_t> parse_epoch_seconds(std::string_view text) {
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc() || seconds < 0 || seconds > INT64_MAX / kNsPerSecond - 1) {
    return std::nullopt;
  }
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  std::int64_t fraction = 0;
  if (!take_fraction(text, fraction) || !text.empty()) return std::nullopt;
  return seconds * kNsPerSecond + fraction;
}

std::string_view take_word(std::string_view& line) {
  const auto space = line.find(' ');
  if (space == std::string_view::npos) return {};
  const std::string_view word = line.substr(0, space);
  line.remove_prefix(space + 1);
  return word;
}

bool same_file(const base::Fd& a, const base::Fd& b) {
  struct stat first {};
  struct stat second {};
  return ::fstat(a.get(), &first) == 0 && ::fstat(b.get(), &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

std::size_t index_of(LogStream stream) {
  return stream == LogStream::kStdout ? 0 : 1;
}

}  // namespace

std::optional<LogEntry> parse_log_entry(std::string_view line) {
  LogEntry entry;
  entry.time = take_word(line);
  const std::string_view stream = take_word(line);
  const std::string_view kind = take_word(line);
  const auto time_ns = parse_date_time(entry.time);
  if (!time_ns || (stream != "stdout" && stream != "stderr") || (kind != "F" && kind != "P")) {
    return std::nullopt;
  }
  entry.time_ns = *time_ns;
  entry.stream = stream == "stdout" ? LogStream::kStdout : LogStream::kStderr;
  entry.ends_line = kind == "F";
  entry.text = line;
  return entry;
}

std::int64_t parse_log_time(std::string_view text, std::int64_t now_ns) {
  if (const auto time = parse_date_time(text)) return *time;
  if (const auto time = parse_epoch_seconds(text)) return *time;
  try {
    return now_ns - parse_duration(text).count();
  } catch (const base::Error&) {
    throw base::Error(base::cat("invalid time ", base::quoted(text)))
        .set_hint("give an RFC 3339 time, seconds since the epoch, or a duration like 10m");
  }
}

LogReader::LogReader(std::string path, LogSelection selection)
    : path_(std::move(path)), selection_(selection), tail_done_(!selection.tail) {}

void LogReader::open_first() {
  // The newer one first: rotated in between, the older name shows the same file, and no line is
  // read twice.
  base::Fd current = base::try_open_file(path_, O_RDONLY);
  base::Fd previous = base::try_open_file(path_ + ".1", O_RDONLY);
  if (previous && !(current && same_file(previous, current))) {
    files_.push_back({std::move(previous), {}});
  }
  if (current) files_.push_back({std::move(current), {}});
}

// True when another file has taken the log's name since the last look.
bool LogReader::follow_rotation() {
  if (files_.empty()) {
    open_first();
    return !files_.empty();
  }
  // In this order: rotated in between, the older name shows what `now` is.
  base::Fd now = base::try_open_file(path_, O_RDONLY);
  if (!now || same_file(now, files_.back().fd)) return false;
  base::Fd between = base::try_open_file(path_ + ".1", O_RDONLY);
  // More than one rotation: the file between the one that was read and the new one is the older one.
  if (between && !same_file(between, files_.back().fd) && !same_file(between, now)) {
    files_.push_back({std::move(between), {}});
  }
  files_.push_back({std::move(now), {}});
  return true;
}

void LogReader::read(const Take& take) {
  do {
    while (files_.size() > 1) {
      // Its successor was seen before: nobody writes to it any more.
      drain(files_.front(), take);
      files_.pop_front();
    }
    if (!files_.empty()) drain(files_.front(), take);
  } while (follow_rotation());
  if (!std::exchange(tail_done_, true)) hand_over_tail(take);
}

void LogReader::drain(File& file, const Take& take) {
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t n = ::read(file.fd.get(), buffer.data(), buffer.size());
    if (n < 0) {
      if (errno == EINTR) continue;
      base::throw_errno("reading", path_);
    }
    if (n == 0) return;
    std::string_view data(buffer.data(), static_cast<std::size_t>(n));
    for (auto newline = data.find('\n'); newline != std::string_view::npos;
         newline = data.find('\n')) {
      file.rest += data.substr(0, newline);
      select(file.rest, take);
      file.rest.clear();
      data.remove_prefix(newline + 1);
    }
    if (file.rest.size() < kMaxLineBytes) file.rest += data;
  }
}

void LogReader::select(std::string_view line, const Take& take) {
  auto entry = parse_log_entry(line);
  if (!entry) return;
  if (selection_.since_ns && entry->time_ns < *selection_.since_ns) return;
  if (selection_.until_ns && entry->time_ns > *selection_.until_ns) {
    past_end_ = true;
    return;
  }
  if (tail_done_) {
    take(*entry);
    return;
  }
  Line& unfinished = unfinished_.at(index_of(entry->stream));
  Line output = unfinished;
  if (!output) {
    output = std::make_shared<std::vector<LogEntry>>();
    tail_lines_.push_back(output);
    if (tail_lines_.size() > *selection_.tail) tail_lines_.pop_front();
  }
  unfinished = entry->ends_line ? nullptr : output;
  output->push_back(std::move(*entry));
}

void LogReader::hand_over_tail(const Take& take) {
  for (const auto& line : tail_lines_) {
    for (const auto& entry : *line) take(entry);
  }
  tail_lines_.clear();
  unfinished_ = {};
}

LogWatch::LogWatch(const VmStore& store, const std::vector<VmRecord>& vms)
    : store_(store), inotify_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)), blind_(!inotify_) {
  watch(store.records().directory(), IN_MOVED_TO | IN_DELETE);
  for (const auto& vm : vms) {
    const VmPaths paths = store.paths(vm.id);
    // The folder tells of a rotation; not of writes, for the VM's disk lies in it.
    watch(paths.disks, IN_CREATE);
    logs_.push_back(paths.log);
    if (base::Fd monitor = base::open_process(vm.monitor)) {
      monitors_.push_back(std::move(monitor));
    }
  }
  watch_logs();
}

void LogWatch::watch(const std::string& path, std::uint32_t events) {
  if (!inotify_) return;
  // What is not there any more belongs to a VM that has ended.
  if (::inotify_add_watch(inotify_.get(), path.c_str(), events | IN_MASK_ADD) < 0 &&
      errno != ENOENT) {
    blind_ = true;
  }
}

void LogWatch::watch_logs() {
  for (const auto& log : logs_) watch(log, IN_MODIFY);
}

void LogWatch::wait() {
  // Watches and instances are few, and shared by all programs of a user.
  constexpr int kBlindPollMs = 1000;
  std::vector<pollfd> entries{{inotify_.get(), POLLIN, 0}};  // -1 is passed over
  for (const auto& monitor : monitors_) entries.push_back({monitor.get(), POLLIN, 0});
  if (::poll(entries.data(), entries.size(), blind_ ? kBlindPollMs : -1) < 0) {
    if (errno == EINTR) return;
    base::throw_errno("waiting for the log");
  }
  std::array<char, 4096> events;
  while (inotify_ && ::read(inotify_.get(), events.data(), events.size()) > 0) {
  }
  // A rotated log has a new file under its name; watching one twice is watching it once.
  watch_logs();
  // A monitor that has ended stays readable and has nothing more to tell.
  for (std::size_t i = entries.size(); i-- > 1;) {
    if (entries[i].revents == 0) continue;
    monitors_.erase(monitors_.begin() + static_cast<std::ptrdiff_t>(i - 1));
  }
}

bool LogWatch::ended(const VmRecord& vm) const {
  const auto now = store_.read(vm.id);
  if (!now.ok()) return true;
  return !now.value().has_monitor() || !base::process_alive(now.value().monitor);
}

}  // namespace vm
