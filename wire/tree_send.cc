#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "wire/tree.h"

namespace wire {
namespace {

// Each level holds a descriptor, of which a process has 1024.
constexpr int kMaxDepth = 400;
constexpr std::size_t kMaxRememberedLinks = 100'000;
// Files of /proc and the like say that they are empty.
constexpr std::size_t kMaxUnsizedBytes = 1 << 20;

std::string descriptor_path(const base::Fd& fd) {
  return base::cat("/proc/self/fd/", fd.get());
}

std::string link_target(int directory, const char* name, const std::string& path) {
  std::string target(kMaxTarPathBytes, '\0');
  const ssize_t n = ::readlinkat(directory, name, target.data(), target.size());
  if (n < 0) base::throw_errno("reading link", path);
  target.resize(static_cast<std::size_t>(n));
  return target;
}

// The last part of where a descriptor leads; empty for a root.
std::string own_name(const base::Fd& fd) {
  const std::string path = link_target(AT_FDCWD, descriptor_path(fd).c_str(), "a descriptor");
  return path.substr(path.rfind('/') + 1);
}

class Sender {
 public:
  Sender(TarWriter::Sink sink, bool one_file_system)
      : writer_(std::move(sink)), one_file_system_(one_file_system) {}

  // `fd` was opened with O_PATH.
  void send(const base::Fd& fd, const struct stat& info, const std::string& name) {
    device_ = info.st_dev;
    if (S_ISDIR(info.st_mode)) {
      const base::Fd directory =
          base::open_file(descriptor_path(fd), O_RDONLY | O_DIRECTORY | O_NONBLOCK);
      send_directory(directory, info, name.empty() ? "." : name, 0);
    } else if (S_ISREG(info.st_mode)) {
      send_file(base::open_file(descriptor_path(fd), O_RDONLY | O_NONBLOCK), info, name);
    } else {
      if (S_ISSOCK(info.st_mode)) {
        throw base::Error(base::cat("copying ", base::quoted(name), ": it is a socket"));
      }
      send_special(info, name, "");
    }
    writer_.finish();
    if (!torn_.empty()) {
      throw base::Error(base::cat(base::quoted(torn_), " became shorter while it was read"));
    }
  }

 private:
  static TarEntry entry_of(const struct stat& info, const std::string& path) {
    TarEntry entry;
    entry.path = path;
    entry.mode = info.st_mode & 07777;
    entry.uid = info.st_uid;
    entry.gid = info.st_gid;
    entry.mtime_s = info.st_mtim.tv_sec;
    return entry;
  }

  void send_directory(const base::Fd& directory, const struct stat& info, const std::string& path,
                      int depth) {
    if (depth > kMaxDepth) throw base::Error(ELOOP, "descending into", path);
    TarEntry entry = entry_of(info, path + '/');
    entry.kind = TarEntry::Kind::kDirectory;
    writer_.add(entry);
    if (one_file_system_ && info.st_dev != device_) return;  // a mount point stays, empty
    for (const auto& name : names_in(directory, path)) {
      send_child(directory, name, path + '/' + name, depth);
    }
  }

  static std::vector<std::string> names_in(const base::Fd& directory, const std::string& path) {
    std::vector<std::string> names;
    base::Fd copy = base::duplicate(directory);
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy.get()), ::closedir);
    if (!stream) base::throw_errno("reading folder", path);
    copy.release();
    while (true) {
      errno = 0;
      const dirent* const found = ::readdir(stream.get());
      if (found == nullptr) break;
      const std::string name = found->d_name;
      if (name != "." && name != "..") names.push_back(name);
    }
    if (errno != 0) base::throw_errno("reading folder", path);
    std::sort(names.begin(), names.end());
    return names;
  }

  void send_child(const base::Fd& directory, const std::string& name, const std::string& path,
                  int depth) {
    struct stat info {};
    if (::fstatat(directory.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return;  // gone since
      base::throw_errno("examining", path);
    }
    if (S_ISSOCK(info.st_mode)) return;
    if (!S_ISDIR(info.st_mode) && info.st_nlink > 1 && send_hard_link(info, path)) return;
    if (S_ISLNK(info.st_mode)) {
      send_special(info, path, link_target(directory.get(), name.c_str(), path));
      return;
    }
    if (!S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) {
      send_special(info, path, "");
      return;
    }
    // It may have become something else since: opened without following and without waiting.
    const int flags =
        O_RDONLY | O_NOFOLLOW | O_NONBLOCK | (S_ISDIR(info.st_mode) ? O_DIRECTORY : 0);
    const base::Fd child = base::open_file_at(directory, name, flags);
    struct stat now {};
    if (::fstat(child.get(), &now) != 0) base::throw_errno("examining", path);
    if (S_ISDIR(now.st_mode)) {
      send_directory(child, now, path, depth + 1);
    } else if (S_ISREG(now.st_mode)) {
      send_file(child, now, path);
    }
  }

  // True when it was sent under another name before.
  bool send_hard_link(const struct stat& info, const std::string& path) {
    const auto key = std::make_pair(info.st_dev, info.st_ino);
    const auto found = links_.find(key);
    if (found == links_.end()) {
      if (links_.size() < kMaxRememberedLinks) links_.emplace(key, path);
      return false;
    }
    TarEntry entry = entry_of(info, path);
    entry.kind = TarEntry::Kind::kHardLink;
    entry.link_target = found->second;
    writer_.add(entry);
    return true;
  }

  void send_special(const struct stat& info, const std::string& path, const std::string& target) {
    TarEntry entry = entry_of(info, path);
    if (S_ISLNK(info.st_mode)) entry.kind = TarEntry::Kind::kSymlink;
    if (S_ISFIFO(info.st_mode)) entry.kind = TarEntry::Kind::kFifo;
    if (S_ISCHR(info.st_mode)) entry.kind = TarEntry::Kind::kCharDevice;
    if (S_ISBLK(info.st_mode)) entry.kind = TarEntry::Kind::kBlockDevice;
    entry.link_target = target;
    entry.device_major = major(info.st_rdev);
    entry.device_minor = minor(info.st_rdev);
    writer_.add(entry);
  }

  void send_file(const base::Fd& file, const struct stat& info, const std::string& path) {
    TarEntry entry = entry_of(info, path);
    std::string unsized;
    if (info.st_size == 0) unsized = read_unsized(file, path);
    entry.size = unsized.empty() ? static_cast<std::uint64_t>(info.st_size) : unsized.size();
    writer_.add(entry);
    writer_.data(unsized);
    std::uint64_t left = entry.size - unsized.size();
    while (left != 0) {
      std::size_t n = std::min<std::uint64_t>(left, buffer_.size());
      const ssize_t got = ::read(file.get(), buffer_.data(), n);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) base::throw_errno("reading", path);
      if (got == 0) {
        // The length was promised: the rest is zeros, and the whole is a failure.
        torn_ = path;
        std::fill_n(buffer_.begin(), n, '\0');
      } else {
        n = static_cast<std::size_t>(got);
      }
      writer_.data({buffer_.data(), n});
      left -= n;
    }
  }

  std::string read_unsized(const base::Fd& file, const std::string& path) {
    std::string text;
    while (true) {
      const ssize_t n = ::read(file.get(), buffer_.data(), buffer_.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) base::throw_errno("reading", path);
      if (n == 0) return text;
      text.append(buffer_.data(), static_cast<std::size_t>(n));
      if (text.size() > kMaxUnsizedBytes) throw base::Error(EFBIG, "reading", path);
    }
  }

  TarWriter writer_;
  bool one_file_system_;
  dev_t device_ = 0;
  std::map<std::pair<dev_t, ino_t>, std::string> links_;
  std::string torn_;
  std::array<char, 64 * 1024> buffer_{};
};

}  // namespace

base::Fd TreeRoot::try_open(const std::string& path, int flags) const noexcept {
  if (!root_) return base::try_open_file(path, flags);
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // SAFETY: openat2(2) reads `how`.
  return base::Fd(
      static_cast<int>(::syscall(SYS_openat2, root_.get(), path.c_str(), &how, sizeof how)));
}

void send_tree(const TreeRoot& root, const std::string& path, TarWriter::Sink sink) {
  const base::Fd fd = root.try_open(path, O_PATH);
  if (!fd) base::throw_errno("finding", path);
  struct stat info {};
  if (::fstat(fd.get(), &info) != 0) base::throw_errno("examining", path);
  const bool contents = path == "." || path.ends_with("/.");
  if (contents && !S_ISDIR(info.st_mode)) throw base::Error(ENOTDIR, "opening", path);
  const auto sender = std::make_unique<Sender>(std::move(sink), root.confined());
  sender->send(fd, info, contents ? "" : own_name(fd));
}

}  // namespace wire
