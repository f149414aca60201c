#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace base {

// All throw base::Error unless said otherwise. Paths are ordinary file system paths.

// The whole file; throws when it is larger than `max_bytes`.
std::string read_file(const std::string& path, std::size_t max_bytes = 64 << 20);
// Empty when there is no such file.
std::optional<std::string> try_read_file(const std::string& path, std::size_t max_bytes = 64 << 20);
void write_file(const std::string& path, std::string_view data, mode_t mode = 0600);
// Written beside `path` and renamed over it: readers see the old file or the new one, whole. With
// `durable` both the data and the folder are on disk when it returns.
void replace_file(const std::string& path, std::string_view data, mode_t mode = 0600,
                  bool durable = false);

// Like mkdir -p; existing folders keep their mode.
void make_directories(const std::string& path, mode_t mode = 0755);
bool path_exists(const std::string& path);
bool is_directory(const std::string& path);
// Names in a folder, sorted, without "." and "..". Empty when there is no such folder.
std::vector<std::string> list_directory(const std::string& path);
// Removes a file or a whole tree without following links. Gone
// already is success.
void remove_tree(const std::string& path);
void fsync_path(const std::string& path);
std::string canonical_path(const std::string& path);
std::uint64_t free_bytes(const std::string& path);

// An flock(2) on a file, made (0600) when missing; released when destroyed or at exit.
class FileLock {
 public:
  FileLock() = default;
  // Waits for the lock; throws Error(ETIMEDOUT) after `timeout` (negative: never).
  static FileLock acquire(const std::string& path, bool exclusive = true,
                          std::chrono::milliseconds timeout = std::chrono::milliseconds(-1));
  // Not held when somebody else has it.
  static FileLock try_acquire(const std::string& path, bool exclusive = true);
  bool held() const { return fd_.valid(); }
  const Fd& fd() const { return fd_; }
  void release() { fd_.reset(); }

 private:
  explicit FileLock(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace base
