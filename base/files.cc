#include "base/files.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <thread>

#include "base/error.h"

namespace base {
namespace {

using DirHandle = std::unique_ptr<DIR, int (*)(DIR*)>;

DirHandle open_dir_at(int parent, const char* name) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return {nullptr, ::closedir};
  DIR* dir = ::fdopendir(fd);
  if (dir == nullptr) ::close(fd);
  return {dir, ::closedir};
}

bool is_dot(const char* name) {
  return std::strcmp(name, ".") == 0 || std::strcmp(name, "..") == 0;
}

// Each level of a tree costs a descriptor while it is emptied, and an unpacked archive may be 2048
// levels deep. Below this depth a folder is moved up to the top instead, and emptied from there.
constexpr int kMaxRemovalDepth = 32;

class TreeRemover {
 public:
  TreeRemover(DIR* top, const std::string& path) : top_(top), path_(path) {}

  void run() {
    do {
      moved_ = false;
      ::rewinddir(top_);
      remove_content(top_, path_, 0);
    } while (moved_);
  }

 private:
  void remove_content(DIR* dir, const std::string& path, int depth) {
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir);
      if (entry == nullptr) {
        if (errno != 0) throw_errno("reading folder", path);
        return;
      }
      if (is_dot(entry->d_name)) continue;
      const std::string name = entry->d_name;
      const int parent = ::dirfd(dir);
      if (::unlinkat(parent, name.c_str(), 0) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR && errno != EPERM) throw_errno("removing", path + "/" + name);
      struct stat info {};
      if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (errno == ENOENT) continue;
        throw_errno("examining", path + "/" + name);
      }
      if (!S_ISDIR(info.st_mode)) throw Error(EPERM, "removing", path + "/" + name);
      remove_folder(parent, name, path + "/" + name, depth + 1);
    }
  }

  void remove_folder(int parent, const std::string& name, const std::string& path, int depth) {
    if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    if (depth > kMaxRemovalDepth && move_to_top(parent, name)) return;
    // A btrfs subvolume has a device of its own without being a mount; rmdir takes an empty one.
    DirHandle child = open_dir_at(parent, name.c_str());
    if (!child) {
      if (errno == ENOENT) return;
      throw_errno("opening folder", path);
    }
    remove_content(child.get(), path, depth);
    child.reset();
    if (::unlinkat(parent, name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      throw_errno("removing", path);
    }
  }

  bool move_to_top(int parent, const std::string& name) {
    for (int tries = 0; tries < 1000; ++tries) {
      const std::string target = cat(".removed-", counter_++);
      if (::renameat2(parent, name.c_str(), ::dirfd(top_), target.c_str(), RENAME_NOREPLACE) == 0) {
        moved_ = true;
        return true;
      }
      if (errno != EEXIST) return false;
    }
    return false;
  }

  DIR* top_;
  const std::string& path_;
  bool moved_ = false;
  unsigned counter_ = 0;
};

std::string parent_of(const std::string& path) {
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

std::string read_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd = open_file(path, O_RDONLY);
  return with_context(cat("reading ", quoted(path)), [&] { return read_to_end(fd, max_bytes); });
}

std::optional<std::string> try_read_file(const std::string& path, std::size_t max_bytes) {
  const Fd fd = try_open_file(path, O_RDONLY);
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return std::nullopt;
    throw_errno("opening", path);
  }
  return with_context(cat("reading ", quoted(path)), [&] { return read_to_end(fd, max_bytes); });
}

void write_file(const std::string& path, std::string_view data, mode_t mode) {
  const Fd fd = open_file(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  with_context(cat("writing ", quoted(path)), [&] { write_all(fd, data); });
}

void replace_file(const std::string& path, std::string_view data, mode_t mode, bool durable) {
  static std::atomic<unsigned> counter{0};
  std::string temporary;
  Fd fd;
  do {
    // A process that was killed, or one of another pid namespace, may have left this very name.
    temporary = cat(path, ".", ::getpid(), ".", counter.fetch_add(1), ".tmp");
    fd = try_open_file(temporary, O_WRONLY | O_CREAT | O_EXCL, mode);
    if (!fd && errno != EEXIST) throw_errno("opening", temporary);
  } while (!fd);
  try {
    with_context(cat("writing ", quoted(path)), [&] {
      write_all(fd, data);
      if (durable && ::fdatasync(fd.get()) != 0) throw_errno("syncing", temporary);
    });
    fd.reset();
    if (::rename(temporary.c_str(), path.c_str()) != 0) throw_errno("replacing", path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  if (durable) fsync_path(parent_of(path));
}

void make_directories(const std::string& path, mode_t mode) {
  if (path.empty() || ::mkdir(path.c_str(), mode) == 0) return;
  if (errno == EEXIST) {
    if (is_directory(path)) return;
    throw Error(ENOTDIR, "making folder", path);
  }
  if (errno != ENOENT) throw_errno("making folder", path);
  make_directories(parent_of(path), mode);
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) throw_errno("making folder", path);
}

bool path_exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

bool is_directory(const std::string& path) {
  struct stat info {};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

std::vector<std::string> list_directory(const std::string& path) {
  std::vector<std::string> names;
  const DirHandle dir(::opendir(path.c_str()), ::closedir);
  if (!dir) {
    if (errno == ENOENT) return names;
    throw_errno("opening folder", path);
  }
  while (const dirent* entry = ::readdir(dir.get())) {
    if (!is_dot(entry->d_name)) names.emplace_back(entry->d_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void remove_tree(const std::string& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return;
  if (errno != EISDIR && errno != EPERM) throw_errno("removing", path);
  const DirHandle dir = open_dir_at(AT_FDCWD, path.c_str());
  if (!dir) {
    if (errno == ENOENT) return;
    throw_errno("opening folder", path);
  }
  TreeRemover(dir.get(), path).run();
  if (::rmdir(path.c_str()) != 0 && errno != ENOENT) throw_errno("removing", path);
}

void fsync_path(const std::string& path) {
  const Fd fd = open_file(path, O_RDONLY);
  if (::fsync(fd.get()) != 0) throw_errno("syncing", path);
}

std::string canonical_path(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(::realpath(path.c_str(), nullptr), ::free);
  if (!resolved) throw_errno("resolving", path);
  return resolved.get();
}

std::uint64_t free_bytes(const std::string& path) {
  struct statvfs info {};
  if (::statvfs(path.c_str(), &info) != 0) throw_errno("reading free space of", path);
  return static_cast<std::uint64_t>(info.f_bavail) * info.f_frsize;
}

FileLock FileLock::try_acquire(const std::string& path, bool exclusive) {
  Fd fd = open_file(path, O_RDWR | O_CREAT, 0600);
  if (::flock(fd.get(), (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return {};
    throw_errno("locking", path);
  }
  return FileLock(std::move(fd));
}

FileLock FileLock::acquire(const std::string& path, bool exclusive,
                           std::chrono::milliseconds timeout) {
  if (FileLock lock = try_acquire(path, exclusive); lock.held()) return lock;
  const int operation = exclusive ? LOCK_EX : LOCK_SH;
  if (timeout.count() < 0) {
    Fd fd = open_file(path, O_RDWR | O_CREAT, 0600);
    while (::flock(fd.get(), operation) != 0) {
      if (errno != EINTR) throw_errno("locking", path);
    }
    return FileLock(std::move(fd));
  }
  // flock has no time limit and no descriptor to wait on, so a thread waits in its place. When we
  // give up it ends as soon as it gets the lock, and closing drops that at once.
  struct Waiter {
    Fd fd;
    Fd done = make_event_fd();
  };
  auto waiter = std::make_shared<Waiter>();
  waiter->fd = open_file(path, O_RDWR | O_CREAT, 0600);
  std::thread([waiter, operation] {
    while (::flock(waiter->fd.get(), operation) != 0 && errno == EINTR) {
    }
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t n = ::write(waiter->done.get(), &one, sizeof one);
  }).detach();
  if (!wait_for(waiter->done.get(), POLLIN, timeout)) throw Error(ETIMEDOUT, "locking", path);
  std::uint64_t count = 0;
  if (::read(waiter->done.get(), &count, sizeof count) < 0) throw_errno("locking", path);
  // Moved, not duplicated: a copy that the thread closes a moment later would keep the lock held
  // after its owner released it. The thread touches the descriptor no more once `done` is set.
  return FileLock(std::move(waiter->fd));
}

}  // namespace base
