#include "storage/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"

namespace storage {
namespace {

constexpr char kSuffix[] = ".tmp";

std::string temporary_name(const std::string& name) {
  static std::atomic<unsigned> counter{0};
  return base::cat(".", name, ".", static_cast<long>(::getpid()), "-", counter++, kSuffix);
}

bool is_temporary(const std::string& name) {
  return name.size() > 5 && name.front() == '.' && name.ends_with(kSuffix);
}

bool is_same_file(const base::Fd& fd, const std::string& path) {
  struct stat by_fd {};
  struct stat by_path {};
  return ::fstat(fd.get(), &by_fd) == 0 && ::lstat(path.c_str(), &by_path) == 0 &&
         by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino;
}

// Locks what was just made at `path`. False when a sweeper saw it before its lock was there: it is
// gone, or about to go.
bool claim(const base::Fd& fd, const std::string& path) {
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EWOULDBLOCK) return false;
    base::throw_errno("locking", path);
  }
  return is_same_file(fd, path);
}

void fsync_fd(const base::Fd& fd, const std::string& path) {
  // EINVAL: something that cannot be synced, a device node say.
  if (::fsync(fd.get()) < 0 && errno != EINVAL) base::throw_errno("writing to disk", path);
}

void fsync_tree(const std::string& path) {
  const base::Fd fd = base::open_file(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  for (const std::string& name : base::list_directory(path)) {
    struct stat info {};
    if (::fstatat(fd.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
      base::throw_errno("inspecting", path + "/" + name);
    }
    if (S_ISDIR(info.st_mode)) fsync_tree(path + "/" + name);
    if (S_ISREG(info.st_mode)) {
      fsync_fd(base::open_file_at(fd, name, O_RDONLY | O_NOFOLLOW), path + "/" + name);
    }
  }
  fsync_fd(fd, path);
}

void fsync_directory(const std::string& path) {
  fsync_fd(base::open_file(path, O_RDONLY | O_DIRECTORY), path);
}

// A program that was killed while it filled the directory may have children that die a moment after
// it: what they still make between emptying a folder and removing it is removed in the next turn.
constexpr std::chrono::seconds kDyingWriters{5};

void remove_quietly(const std::string& path) noexcept {
  const auto deadline = std::chrono::steady_clock::now() + kDyingWriters;
  for (;;) {
    try {
      base::remove_tree(path);
      return;
    } catch (const base::Error& error) {
      if (error.errnum() == ENOTEMPTY && std::chrono::steady_clock::now() < deadline) continue;
      base::log_warn(error.what());
    } catch (const std::exception& error) {
      base::log_warn(error.what());
    }
    return;
  }
}

}  // namespace

StagingDirectory::StagingDirectory(const std::string& parent, const std::string& name)
    : parent_(parent), name_(name) {
  base::make_directories(parent);
  sweep_stale(parent);
  for (;;) {
    path_ = parent + "/" + temporary_name(name);
    if (::mkdir(path_.c_str(), 0700) < 0) {
      if (errno == EEXIST) continue;
      base::throw_errno("creating", path_);
    }
    lock_ = base::try_open_file(path_, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
    if (!lock_ && errno != ENOENT) {
      const int errnum = errno;
      ::rmdir(path_.c_str());
      throw base::Error(errnum, "opening", path_);
    }
    if (lock_ && claim(lock_, path_)) return;
  }
}

StagingDirectory::StagingDirectory(StagingDirectory&& other) noexcept
    : parent_(std::move(other.parent_)),
      name_(std::move(other.name_)),
      path_(std::exchange(other.path_, {})),
      lock_(std::move(other.lock_)) {}

StagingDirectory::~StagingDirectory() {
  if (!path_.empty()) remove_quietly(path_);
}

bool StagingDirectory::publish() {
  fsync_tree(path_);
  const std::string target = parent_ + "/" + name_;
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) < 0) {
    if (errno == EEXIST) return false;
    // Without RENAME_NOREPLACE rename(2) refuses a directory that holds anything, which ours always
    // do.
    if (errno != EINVAL || ::rename(path_.c_str(), target.c_str()) < 0) {
      if (errno == ENOTEMPTY || errno == EEXIST) return false;
      base::throw_errno("publishing", target);
    }
  }
  path_.clear();
  fsync_directory(parent_);
  return true;
}

void StagingDirectory::publish_replacing() {
  const std::string target = parent_ + "/" + name_;
  while (!publish()) {
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0) {
      // What is at path_ now is the old one.
      remove_quietly(path_);
      path_.clear();
      fsync_directory(parent_);
      return;
    }
    if (errno == EINVAL) {
      base::remove_tree(target);
    } else if (errno != ENOENT) {
      base::throw_errno("publishing", target);
    }
  }
}

StagingFile::StagingFile(const std::string& parent, const std::string& name, mode_t mode)
    : parent_(parent), name_(name) {
  base::make_directories(parent);
  sweep_stale(parent);
  for (;;) {
    path_ = parent + "/" + temporary_name(name);
    fd_ = base::try_open_file(path_, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
    if (!fd_) {
      if (errno == EEXIST) continue;
      base::throw_errno("creating", path_);
    }
    if (claim(fd_, path_)) return;
  }
}

StagingFile::StagingFile(StagingFile&& other) noexcept
    : parent_(std::move(other.parent_)),
      name_(std::move(other.name_)),
      path_(std::exchange(other.path_, {})),
      fd_(std::move(other.fd_)) {}

StagingFile::~StagingFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void StagingFile::publish() {
  publish_as(name_);
}

void StagingFile::publish_as(const std::string& final_name) {
  fsync_fd(fd_, path_);
  const std::string target = parent_ + "/" + final_name;
  if (::rename(path_.c_str(), target.c_str()) < 0) base::throw_errno("publishing", target);
  path_.clear();
  fsync_directory(parent_);
}

namespace {

// Calls `use` for each stale temporary while its lock is held.
template <typename F>
void for_each_stale(const std::string& parent, F&& use) {
  for (const std::string& name : base::list_directory(parent)) {
    if (!is_temporary(name)) continue;
    const std::string path = parent + "/" + name;
    struct stat info {};
    if (::lstat(path.c_str(), &info) < 0) continue;
    // Only what this file makes; opening anything else might block or have an effect.
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) continue;
    const base::Fd fd = base::try_open_file(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
    if (fd && claim(fd, path)) use(path);
  }
}

}  // namespace

int sweep_stale(const std::string& parent) noexcept {
  int removed = 0;
  try {
    for_each_stale(parent, [&](const std::string& path) {
      base::remove_tree(path);
      ++removed;
    });
  } catch (const std::exception& error) {
    base::log_debug(base::cat("sweeping ", base::quoted(parent), ": ", error.what()));
  }
  return removed;
}

void discard_directory(const std::string& path) {
  const auto slash = path.rfind('/');
  const std::string parent = path.substr(0, slash);
  const std::string discarded = parent + "/" + temporary_name(path.substr(slash + 1));
  // As long as this lives nobody else takes the rest for what a crash left.
  const base::Fd lock = base::open_file(path, O_RDONLY | O_DIRECTORY);
  if (::flock(lock.get(), LOCK_EX) != 0) base::throw_errno("locking", path);
  if (::rename(path.c_str(), discarded.c_str()) < 0) base::throw_errno("removing", path);
  base::remove_tree(discarded);
}

std::vector<std::string> stale_temporaries(const std::string& parent) {
  std::vector<std::string> found;
  for_each_stale(parent, [&](const std::string& path) { found.push_back(path); });
  return found;
}

void replace_symlink(const std::string& target, const std::string& link) {
  const auto slash = link.rfind('/');
  const std::string parent = slash == std::string::npos ? "." : link.substr(0, slash);
  const std::string temporary =
      parent + "/" + temporary_name(slash == std::string::npos ? link : link.substr(slash + 1));
  ::unlink(temporary.c_str());
  if (::symlink(target.c_str(), temporary.c_str()) < 0) base::throw_errno("creating", temporary);
  if (::rename(temporary.c_str(), link.c_str()) < 0) {
    const int errnum = errno;
    ::unlink(temporary.c_str());
    throw base::Error(errnum, "creating", link);
  }
}

}  // namespace storage
