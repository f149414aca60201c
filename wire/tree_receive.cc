#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "wire/tree.h"

namespace wire {
namespace {

using Kind = TarEntry::Kind;

constexpr int kMaxLinks = 40;  // as the kernel's own limit, MAXSYMLINKS
// Of directories whose mode and time are set at the end, so that what is unpacked into them does not
// disturb those.
constexpr std::size_t kMaxDirectories = 1'000'000;

std::string descriptor_path(const base::Fd& fd, const std::string& name) {
  return base::cat("/proc/self/fd/", fd.get(), "/", name);
}

// The parts of a path inside the archive: no "..", and "." and "/" only between or before names.
std::vector<std::string> parts_of(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      throw base::Error(base::cat("the archive names ", base::quoted(path), ", which leads out"));
    }
    parts.push_back(part);
  }
  return parts;
}

// A place for one thing: an open directory and a name in it.
struct Place {
  base::Fd parent;
  std::string name;
};

// Where `path` leads when its last part is a link, or is missing. The folder it is in has to exist.
Place resolve(const TreeRoot& root, std::string path) {
  for (int links = 0; links < kMaxLinks; ++links) {
    const auto slash = path.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
    Place place;
    place.name = slash == std::string::npos ? path : path.substr(slash + 1);
    place.parent = root.try_open(folder, O_PATH | O_DIRECTORY);
    if (!place.parent) base::throw_errno("finding", path);
    std::string target(kMaxTarPathBytes, '\0');
    const ssize_t n =
        ::readlinkat(place.parent.get(), place.name.c_str(), target.data(), target.size());
    if (n < 0) return place;  // no link, or nothing there
    target.resize(static_cast<std::size_t>(n));
    path = target.starts_with('/') ? target : folder + "/" + target;
  }
  throw base::Error(ELOOP, "finding", path);
}

class Receiver {
 public:
  Receiver(TarReader& reader, const ReceiveOptions& options) : reader_(reader), options_(options) {}

  // Everything below `top`; `strip` is the first part of each name and left out. `entry` is the
  // archive's first, `top_is_ours`: the directory was made for it.
  void receive_below(base::Fd top, const std::string& strip, TarEntry entry, bool top_is_ours) {
    top_ = std::move(top);
    strip_ = strip;
    do {
      std::vector<std::string> parts = inner_parts(entry.path);
      if (!parts.empty()) {
        receive(entry, parts);
      } else if (entry.kind != Kind::kDirectory) {
        unexpected(entry);
      } else if (top_is_ours) {
        finish_later(entry, {});
      }
    } while (reader_.next(entry));
    finish_directories();
  }

  // The archive's only entry, under `name` in `parent`.
  void receive_one(const Place& place, TarEntry entry) {
    if (entry.kind == Kind::kHardLink || entry.kind == Kind::kDirectory ||
        entry.kind == Kind::kSymlink) {
      unexpected(entry);
    }
    make(place.parent, place.name, entry);
    if (reader_.next(entry)) unexpected(entry);
  }

 private:
  [[noreturn]] static void unexpected(const TarEntry& entry) {
    throw base::Error(
        base::cat("the archive holds ", base::quoted(entry.path), ", which was not asked for"));
  }

  std::vector<std::string> inner_parts(const std::string& path) const {
    std::vector<std::string> parts = parts_of(path);
    if (strip_.empty()) return parts;
    if (parts.empty() || parts.front() != strip_) {
      throw base::Error(
          base::cat("the archive holds ", base::quoted(path), ", which was not asked for"));
    }
    parts.erase(parts.begin());
    return parts;
  }

  // The directory of `parts` without the last, below top_, made where missing; no link is followed.
  base::Fd folder_of(const std::vector<std::string>& parts, bool make_missing) const {
    base::Fd folder = base::duplicate(top_);
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const char* const name = parts[i].c_str();
      constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
      base::Fd next(::openat(folder.get(), name, kFlags));
      if (!next && errno == ENOENT && make_missing) {
        if (::mkdirat(folder.get(), name, 0755) != 0) base::throw_errno("making folder", parts[i]);
        if (options_.owner) set_owner(folder, parts[i], TarEntry{});
        next = base::Fd(::openat(folder.get(), name, kFlags));
      }
      if (!next) base::throw_errno("opening folder", parts[i]);
      folder = std::move(next);
    }
    return folder;
  }

  void receive(const TarEntry& entry, const std::vector<std::string>& parts) {
    const base::Fd folder = folder_of(parts, true);
    if (entry.kind == Kind::kDirectory) {
      make_directory(folder, parts.back(), entry);
      finish_later(entry, parts);
    } else if (entry.kind == Kind::kHardLink) {
      const std::vector<std::string> target = inner_parts(entry.link_target);
      if (target.empty()) unexpected(entry);
      if (target == parts) return;
      const base::Fd other = folder_of(target, false);
      clear(folder, parts.back(), entry.path);
      if (::linkat(other.get(), target.back().c_str(), folder.get(), parts.back().c_str(), 0) !=
          0) {
        base::throw_errno("linking", entry.path);
      }
    } else {
      make(folder, parts.back(), entry);
    }
  }

  // What is in the way of something that is no directory. False: it has to stay (a mount point).
  bool clear(const base::Fd& folder, const std::string& name, const std::string& path) const {
    if (::unlinkat(folder.get(), name.c_str(), 0) == 0 || errno == ENOENT) return true;
    if (errno == EBUSY) return false;
    struct stat there {};
    if (errno != EISDIR ||
        ::fstatat(folder.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(there.st_mode)) {
      base::throw_errno("replacing", path);
    }
    if (!options_.overwrite) throw base::Error(EISDIR, "replacing", path);
    base::remove_tree(descriptor_path(folder, name));
    return true;
  }

  void make_directory(const base::Fd& folder, const std::string& name,
                      const TarEntry& entry) const {
    if (::mkdirat(folder.get(), name.c_str(), 0700) == 0) return;
    struct stat there {};
    if (errno != EEXIST ||
        ::fstatat(folder.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) {
      base::throw_errno("making folder", entry.path);
    }
    if (S_ISDIR(there.st_mode)) return;
    if (!options_.overwrite) throw base::Error(EEXIST, "making folder", entry.path);
    if (::unlinkat(folder.get(), name.c_str(), 0) != 0 ||
        ::mkdirat(folder.get(), name.c_str(), 0700) != 0) {
      base::throw_errno("making folder", entry.path);
    }
  }

  // Before anything makes way for it.
  void check_welcome(const base::Fd& folder, const TarEntry& entry) const {
    const bool device = entry.kind == Kind::kCharDevice || entry.kind == Kind::kBlockDevice;
    if (device && !options_.trust_special) {
      throw base::Error(base::cat("the archive holds ", base::quoted(entry.path),
                                  ", a device node, and none is made here"));
    }
    // More than there is room for is not begun: an archive may promise anything.
    struct statvfs space {};
    if (::fstatvfs(folder.get(), &space) == 0 && entry.size / space.f_frsize > space.f_bavail) {
      throw base::Error(ENOSPC, "writing", entry.path);
    }
  }

  void make(const base::Fd& folder, const std::string& name, const TarEntry& entry) {
    check_welcome(folder, entry);
    const bool cleared = clear(folder, name, entry.path);
    if (entry.kind == Kind::kFile) {
      write_file(folder, name, entry, cleared);
      return;
    }
    int result = -1;
    switch (entry.kind) {
      case Kind::kSymlink:
        result = ::symlinkat(entry.link_target.c_str(), folder.get(), name.c_str());
        break;
      case Kind::kFifo:
        result = ::mkfifoat(folder.get(), name.c_str(), 0600);
        break;
      case Kind::kCharDevice:
      case Kind::kBlockDevice:
        result = ::mknodat(folder.get(), name.c_str(),
                           (entry.kind == Kind::kCharDevice ? S_IFCHR : S_IFBLK) | 0600U,
                           ::makedev(entry.device_major, entry.device_minor));
        break;
      default:
        unexpected(entry);
    }
    if (result != 0) base::throw_errno("making", entry.path);
    set_owner(folder, name, entry);
    if (entry.kind != Kind::kSymlink) {
      const base::Fd made(::openat(folder.get(), name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
      const std::string path = base::cat("/proc/self/fd/", made.get());
      if (!made || ::chmod(path.c_str(), mode_of(entry)) != 0) {
        base::throw_errno("setting the mode of", entry.path);
      }
    }
    set_time(folder, name, entry);
  }

  void write_file(const base::Fd& folder, const std::string& name, const TarEntry& entry,
                  bool anew) {
    const int flags = O_WRONLY | O_NOFOLLOW | O_NONBLOCK | (anew ? O_CREAT | O_EXCL : O_TRUNC);
    const base::Fd file = base::open_file_at(folder, name, flags, 0600);
    while (true) {
      const std::size_t n = reader_.read(buffer_.data(), buffer_.size());
      if (n == 0) break;
      base::with_context(base::cat("writing ", base::quoted(entry.path)),
                         [&] { base::write_all(file, std::string_view(buffer_.data(), n)); });
    }
    if (!anew) return;
    const auto [uid, gid] = owner_of(entry);
    if (changes_owner() && ::fchown(file.get(), uid, gid) != 0) {
      base::throw_errno("setting the owner of", entry.path);
    }
    if (::fchmod(file.get(), mode_of(entry)) != 0) {
      base::throw_errno("setting the mode of", entry.path);
    }
    set_time(folder, name, entry);
  }

  mode_t mode_of(const TarEntry& entry) const {
    return entry.mode & (options_.trust_special ? 07777U : 01777U);
  }
  std::pair<uid_t, gid_t> owner_of(const TarEntry& entry) const {
    return options_.owner.value_or(
        std::make_pair(static_cast<uid_t>(entry.uid), static_cast<gid_t>(entry.gid)));
  }
  // Ordinary users own what they make and nothing else.
  static bool changes_owner() { return ::geteuid() == 0; }

  void set_owner(const base::Fd& folder, const std::string& name, const TarEntry& entry) const {
    const auto [uid, gid] = owner_of(entry);
    if (changes_owner() &&
        ::fchownat(folder.get(), name.c_str(), uid, gid, AT_SYMLINK_NOFOLLOW) != 0) {
      base::throw_errno("setting the owner of", name);
    }
  }

  static void set_time(const base::Fd& folder, const std::string& name, const TarEntry& entry) {
    const std::array<timespec, 2> times{{{0, UTIME_OMIT}, {entry.mtime_s, 0}}};
    // Some file systems have no such times; nothing depends on them.
    static_cast<void>(::utimensat(folder.get(), name.c_str(), times.data(), AT_SYMLINK_NOFOLLOW));
  }

  void finish_later(const TarEntry& entry, const std::vector<std::string>& parts) {
    if (directories_.size() >= kMaxDirectories) {
      throw base::Error("the archive has too many folders");
    }
    directories_.emplace_back(parts, entry);
  }

  void finish_directories() {
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
      const auto& [parts, entry] = *it;
      base::Fd directory;
      if (parts.empty()) {
        directory = base::duplicate(top_);
      } else {
        const base::Fd folder = folder_of(parts, false);
        directory = base::Fd(::openat(folder.get(), parts.back().c_str(),
                                      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!directory) base::throw_errno("opening folder", entry.path);
      }
      const auto [uid, gid] = owner_of(entry);
      if (changes_owner() && ::fchownat(directory.get(), "", uid, gid, AT_EMPTY_PATH) != 0) {
        base::throw_errno("setting the owner of", entry.path);
      }
      // Through /proc, for an O_PATH descriptor takes neither.
      const std::string path = descriptor_path(directory, ".");
      if (::chmod(path.c_str(), mode_of(entry)) != 0) {
        base::throw_errno("setting the mode of", entry.path);
      }
      const std::array<timespec, 2> times{{{0, UTIME_OMIT}, {entry.mtime_s, 0}}};
      static_cast<void>(::utimensat(AT_FDCWD, path.c_str(), times.data(), 0));
    }
  }

  TarReader& reader_;
  const ReceiveOptions& options_;
  base::Fd top_;
  std::string strip_;
  std::vector<std::pair<std::vector<std::string>, TarEntry>> directories_;
  std::array<char, 64 * 1024> buffer_{};
};

// `name` in `parent` as a directory; true when it was made.
bool enter_directory(base::Fd& parent, const std::string& name, bool overwrite) {
  if (overwrite) {
    struct stat there {};
    if (::fstatat(parent.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISDIR(there.st_mode)) {
      ::unlinkat(parent.get(), name.c_str(), 0);
    }
  }
  const bool made = ::mkdirat(parent.get(), name.c_str(), 0755) == 0;
  if (!made && errno != EEXIST) base::throw_errno("making folder", name);
  base::Fd inside(
      ::openat(parent.get(), name.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!inside) base::throw_errno("opening folder", name);
  parent = std::move(inside);
  return made;
}

}  // namespace

void receive_tree(const TreeRoot& root, const std::string& destination, TarReader::Source source,
                  const ReceiveOptions& options) {
  TarReader reader(std::move(source));
  TarEntry entry;
  base::Fd existing = root.try_open(destination, O_PATH | O_DIRECTORY);
  const int errnum = existing ? 0 : errno;
  if (options.any_archive && !existing) {
    if (errnum != ENOTDIR && errnum != ENOENT) throw base::Error(errnum, "opening", destination);
    throw base::Error("the destination must be a directory when copying from stdin");
  }
  const auto receiver = std::make_unique<Receiver>(reader, options);
  if (!reader.next(entry)) {
    if (options.any_archive) return;
    throw base::Error("the archive is empty");
  }
  if (options.any_archive) {
    receiver->receive_below(std::move(existing), "", std::move(entry), false);
    return;
  }

  const std::vector<std::string> parts = parts_of(entry.path);
  const bool is_directory = entry.kind == Kind::kDirectory;
  if (parts.size() > 1 || (parts.empty() && !is_directory)) {
    throw base::Error("the archive is not of one file or one directory");
  }
  const std::string name = parts.empty() ? "" : parts.front();
  if (existing) {
    if (!is_directory) {
      receiver->receive_one({std::move(existing), name}, std::move(entry));
      return;
    }
    const bool made = !name.empty() && enter_directory(existing, name, options.overwrite);
    receiver->receive_below(std::move(existing), name, std::move(entry), made);
    return;
  }
  if (errnum != ENOENT && errnum != ENOTDIR) throw base::Error(errnum, "finding", destination);
  if (destination.ends_with('/') || destination.ends_with("/.")) {
    throw base::Error(errnum, "finding", destination);
  }
  Place place = resolve(root, destination);
  if (!is_directory) {
    receiver->receive_one(place, std::move(entry));
    return;
  }
  struct stat there {};
  const bool taken =
      ::fstatat(place.parent.get(), place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0;
  if (taken && !options.overwrite) {
    throw base::Error("the destination must be a directory when copying a directory");
  }
  const bool made = enter_directory(place.parent, place.name, options.overwrite);
  receiver->receive_below(std::move(place.parent), name, std::move(entry), made);
}

}  // namespace wire
