#include "hypervisor/detail/bounded_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace hypervisor {
namespace {

constexpr std::size_t kReadBytes = 16 * 1024;
constexpr std::size_t kMaxLineBytes = 300;
// drain() ends after so many reads: a writer that still lives could keep it busy for ever.
constexpr int kMaxDrainReads = 256;

}  // namespace

BoundedLog::BoundedLog(base::EventLoop& loop, base::Fd source, std::string path,
                       std::size_t max_file_bytes, std::size_t tail_bytes)
    : source_(std::move(source)),
      path_(std::move(path)),
      generation_bytes_(max_file_bytes / 2),
      tail_bytes_(tail_bytes) {
  base::set_nonblocking(source_);
  if (!path_.empty()) open_file();
  watch_ = loop.watch(source_.get(), EPOLLIN, [this](std::uint32_t) { read_some(); });
}

void BoundedLog::open_file() {
  file_bytes_ = 0;
  file_ = base::try_open_file(path_, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
  if (!file_) {
    base::log_warn(base::Error(errno, "opening", path_).what());
    path_.clear();
  }
}

bool BoundedLog::read_some() {
  std::array<char, kReadBytes> buffer;
  const ssize_t n = ::read(source_.get(), buffer.data(), buffer.size());
  if (n > 0) {
    append(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    return true;
  }
  if (n == 0 || (errno != EAGAIN && errno != EINTR)) watch_.reset();
  return false;
}

void BoundedLog::drain() {
  for (int i = 0; i < kMaxDrainReads && watch_.active() && read_some(); ++i) {
  }
}

void BoundedLog::append(std::string_view data) {
  if (!path_.empty()) write_file(data);
  tail_ += data;
  if (tail_.size() > tail_bytes_) tail_.erase(0, tail_.size() - tail_bytes_);
}

void BoundedLog::write_file(std::string_view data) {
  if (file_bytes_ + data.size() > generation_bytes_) {
    file_.reset();
    const std::string older = path_ + ".1";
    if (::rename(path_.c_str(), older.c_str()) != 0) {
      base::log_warn(base::Error(errno, "renaming", path_).what());
    }
    open_file();
  }
  if (!file_) return;
  const ssize_t n = ::write(file_.get(), data.data(), data.size());
  if (n > 0) file_bytes_ += static_cast<std::size_t>(n);
}

std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  const auto start = text.rfind('\n');
  if (start != std::string_view::npos) text.remove_prefix(start + 1);
  std::string line;
  for (const char c : text.substr(0, kMaxLineBytes)) {
    if (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f) line += c;
  }
  return line;
}

}  // namespace hypervisor
