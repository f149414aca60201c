#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "wire/tree.h"

namespace wire {
namespace {

using Kind = TarEntry::Kind;

constexpr int kMaxLinks = 40;                      // as the kernel's own limit, MAXSYMLINKS
constexpr std::size_t kMaxDepth = 500;             // send_tree() makes less
constexpr std::size_t kRememberedBytesEach = 128;  // of a directory, beside its name and entry
// What pads an archive behind its end mark: tar(1) fills a record, 10 KiB unless told otherwise.
constexpr std::size_t kMaxPaddingBytes = 1 << 20;

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
    if (parts.size() > kMaxDepth) throw base::Error(ELOOP, "descending into", parts.front());
  }
  return parts;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string path;
  for (const auto& part : parts) path += path.empty() ? part : '/' + part;
  return path;
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

// A device, a FIFO or a socket that the user named as the place to write to stays: who writes to
// /dev/null means the device.
void check_replaceable(const Place& place) {
  struct stat there {};
  if (::fstatat(place.parent.get(), place.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0) return;
  if (S_ISREG(there.st_mode) || S_ISDIR(there.st_mode) || S_ISLNK(there.st_mode)) return;
  throw base::Error(base::cat("the destination ", base::quoted(place.name),
                              " must be a directory or a regular file"));
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
    check_replaceable(place);
    make(place.parent, place.name, entry, options_.overwrite);
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

  // The directory of `parts` without the last, below top_, made where missing. The last one stays
  // open, for the next entry mostly is in it, too.
  base::Fd folder_of(const std::vector<std::string>& parts, bool make_missing) {
    const auto end = parts.end() - 1;
    if (!folder_ || !std::equal(parts.begin(), end, folder_parts_.begin(), folder_parts_.end())) {
      folder_ = find_folder(parts, make_missing);
      folder_parts_.assign(parts.begin(), end);
    }
    return base::duplicate(folder_);
  }

  // No link is followed.
  base::Fd find_folder(const std::vector<std::string>& parts, bool make_missing) const {
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
      const base::Fd other = find_folder(target, false);
      clear(folder, parts.back(), entry.path, may_remove_trees());
      if (::linkat(other.get(), target.back().c_str(), folder.get(), parts.back().c_str(), 0) !=
          0) {
        base::throw_errno("linking", entry.path);
      }
    } else {
      make(folder, parts.back(), entry, may_remove_trees());
    }
  }

  // Of directories below the one the user named: which of them go is the archive's choice.
  bool may_remove_trees() const { return options_.overwrite && options_.trust_special; }

  // What is in the way of something that is no directory. False: it has to stay (a mount point).
  bool clear(const base::Fd& folder, const std::string& name, const std::string& path,
             bool remove_trees) {
    if (::unlinkat(folder.get(), name.c_str(), 0) == 0 || errno == ENOENT) return true;
    if (errno == EBUSY) return false;
    struct stat there {};
    if (errno != EISDIR ||
        ::fstatat(folder.get(), name.c_str(), &there, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(there.st_mode)) {
      base::throw_errno("replacing", path);
    }
    if (!options_.overwrite) throw base::Error(EISDIR, "replacing", path);
    folder_.reset();
    if (remove_trees) {
      base::remove_tree(descriptor_path(folder, name));
    } else if (::unlinkat(folder.get(), name.c_str(), AT_REMOVEDIR) != 0) {
      base::throw_errno("replacing", path);
    }
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
    // More than there is room for is not begun: an archive may promise anything. Some file systems
    // do not say.
    struct statvfs space {};
    if (::fstatvfs(folder.get(), &space) == 0 && space.f_frsize != 0 && space.f_blocks != 0 &&
        entry.size / space.f_frsize > space.f_bavail) {
      throw base::Error(ENOSPC, "writing", entry.path);
    }
  }

  void make(const base::Fd& folder, const std::string& name, const TarEntry& entry,
            bool remove_trees) {
    check_welcome(folder, entry);
    const bool cleared = clear(folder, name, entry.path, remove_trees);
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

  // Modes and times of directories are set at the end, so that what is unpacked into them does not
  // disturb those.
  void finish_later(TarEntry entry, const std::vector<std::string>& parts) {
    std::string path = joined(parts);
    entry.path.clear();
    entry.link_target.clear();
    if (const auto found = directories_.find(path); found != directories_.end()) {
      found->second = std::move(entry);
      return;
    }
    remembered_ += path.size() + sizeof entry + kRememberedBytesEach;
    if (remembered_ > options_.max_folder_bytes) {
      throw base::Error("the archive has too many folders");
    }
    directories_.emplace(std::move(path), std::move(entry));
  }

  // What is below a directory comes before it.
  void finish_directories() {
    for (auto it = directories_.rbegin(); it != directories_.rend(); ++it) {
      const auto& [path, entry] = *it;
      const std::vector<std::string> parts = parts_of(path);
      base::Fd directory;
      if (parts.empty()) {
        directory = base::duplicate(top_);
      } else {
        const base::Fd folder = folder_of(parts, false);
        directory = base::Fd(::openat(folder.get(), parts.back().c_str(),
                                      O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
        if (!directory) base::throw_errno("opening folder", path);
      }
      const auto [uid, gid] = owner_of(entry);
      if (changes_owner() && ::fchownat(directory.get(), "", uid, gid, AT_EMPTY_PATH) != 0) {
        base::throw_errno("setting the owner of", path);
      }
      // Through /proc, for an O_PATH descriptor takes neither.
      const std::string through = descriptor_path(directory, ".");
      if (::chmod(through.c_str(), mode_of(entry)) != 0) {
        base::throw_errno("setting the mode of", path);
      }
      const std::array<timespec, 2> times{{{0, UTIME_OMIT}, {entry.mtime_s, 0}}};
      static_cast<void>(::utimensat(AT_FDCWD, through.c_str(), times.data(), 0));
    }
  }

  TarReader& reader_;
  const ReceiveOptions& options_;
  base::Fd top_;
  std::string strip_;
  base::Fd folder_;
  std::vector<std::string> folder_parts_;
  std::map<std::string, TarEntry> directories_;  // by their paths below top_
  std::size_t remembered_ = 0;
  std::array<char, 64 * 1024> buffer_{};
};

// `name` in `parent` as a directory; true when it was made.
bool enter_directory(base::Fd& parent, const std::string& name, bool overwrite) {
  if (overwrite) {
    check_replaceable({base::duplicate(parent), name});
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

// What is left, so that the writer does not find its pipe closed.
void drain(const TarReader::Source& source, std::size_t limit) {
  std::array<char, 4096> scratch;
  for (std::size_t sum = 0; sum <= limit;) {
    const std::size_t n = source(scratch.data(), scratch.size());
    if (n == 0) return;
    sum += n;
  }
  throw base::Error("the archive does not end after its end mark");
}

void receive(const TreeRoot& root, const std::string& destination, TarReader& reader,
             const ReceiveOptions& options) {
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
  const std::string own_name = parts.empty() ? "" : parts.front();
  if (existing) {
    const std::string name = options.name.value_or(own_name);
    if (!is_directory) {
      if (name.empty()) throw base::Error(ENOTDIR, "opening", "the source");
      receiver->receive_one({std::move(existing), name}, std::move(entry));
      return;
    }
    const bool made = !name.empty() && enter_directory(existing, name, options.overwrite);
    receiver->receive_below(std::move(existing), own_name, std::move(entry), made);
    return;
  }
  if (errnum != ENOENT && errnum != ENOTDIR) throw base::Error(errnum, "finding", destination);
  if (destination.ends_with('/') || destination.ends_with("/.")) {
    throw base::Error(errnum, "finding", destination);
  }
  Place place = resolve(root, destination);
  check_replaceable(place);
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
  receiver->receive_below(std::move(place.parent), own_name, std::move(entry), made);
}

}  // namespace

void receive_tree(const TreeRoot& root, const std::string& destination,
                  const TarReader::Source& source, const ReceiveOptions& options) {
  // One source for both: it knows how far it has come.
  TarReader reader([&source](char* buffer, std::size_t size) { return source(buffer, size); });
  receive(root, destination, reader, options);
  drain(source, options.any_archive ? SIZE_MAX : kMaxPaddingBytes);
}

}  // namespace wire
