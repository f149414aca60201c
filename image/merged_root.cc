#include "image/merged_root.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <deque>
#include <memory>

#include "base/error.h"
#include "base/fd.h"

namespace image {
namespace {

// As the kernel: MAXSYMLINKS of include/linux/namei.h.
constexpr int kMaxLinks = 40;

// One directory of the merged tree: those of the layers that take part in it, top first.
using Directory = std::vector<std::shared_ptr<base::Fd>>;

std::deque<std::string> split(const std::string& path) {
  std::deque<std::string> parts;
  for (std::size_t at = 0; at < path.size();) {
    const auto end = std::min(path.find('/', at), path.size());
    if (end > at) parts.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

// linux/Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories".
bool is_whiteout(const struct stat& info) {
  return S_ISCHR(info.st_mode) && info.st_rdev == ::makedev(0, 0);
}

bool is_opaque(const base::Fd& directory) {
  for (const char* name : {"trusted.overlay.opaque", "user.overlay.opaque"}) {
    char value = 0;
    if (::fgetxattr(directory.get(), name, &value, 1) == 1 && value == 'y') return true;
  }
  return false;
}

// What a name means in a merged directory.
struct Entry {
  Directory directory;               // if it is one
  std::shared_ptr<base::Fd> parent;  // else: the layer's directory that has the file
  struct stat info {};
  bool found = false;
};

Entry look_up(const Directory& directory, const std::string& name) {
  Entry entry;
  for (const auto& layer : directory) {
    struct stat info {};
    if (::fstatat(layer->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) < 0) {
      if (errno == ENOENT || errno == ENAMETOOLONG) continue;
      base::throw_errno("inspecting", name);
    }
    if (is_whiteout(info)) break;
    if (!S_ISDIR(info.st_mode)) {
      if (!entry.found) {
        entry.parent = layer;
        entry.info = info;
        entry.found = true;
      }
      break;
    }
    auto fd = std::make_shared<base::Fd>(
        ::openat(layer->get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!*fd) base::throw_errno("opening", name);
    const bool opaque = is_opaque(*fd);
    entry.found = true;
    entry.info = info;
    entry.directory.push_back(std::move(fd));
    if (opaque) break;
  }
  return entry;
}

std::optional<std::string> read_regular(const Entry& entry, const std::string& name,
                                        std::size_t max_bytes) {
  const base::Fd file(
      ::openat(entry.parent->get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) base::throw_errno("opening", name);
  return base::read_to_end(file, max_bytes);
}

std::string read_link(const Entry& entry, const std::string& name) {
  std::array<char, PATH_MAX> target{};
  const ssize_t length =
      ::readlinkat(entry.parent->get(), name.c_str(), target.data(), target.size());
  if (length < 0) base::throw_errno("reading link", name);
  return {target.data(), static_cast<std::size_t>(length)};
}

}  // namespace

std::optional<std::string> read_merged_file(const std::vector<std::string>& layers,
                                            const std::string& path, std::size_t max_bytes) {
  return base::with_context(base::cat("reading ", base::quoted("/" + path), " of the image"),
                            [&]() -> std::optional<std::string> {
                              Directory root;
                              for (const std::string& layer : layers) {
                                root.push_back(std::make_shared<base::Fd>(
                                    base::open_file(layer, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)));
                              }
                              std::vector<Directory> trail{root};
                              std::deque<std::string> parts = split(path);
                              int links = 0;
                              while (!parts.empty()) {
                                const std::string name = parts.front();
                                parts.pop_front();
                                if (name == ".") continue;
                                if (name == "..") {
                                  if (trail.size() > 1) trail.pop_back();
                                  continue;
                                }
                                const Entry entry = look_up(trail.back(), name);
                                if (!entry.found) return std::nullopt;
                                if (S_ISDIR(entry.info.st_mode)) {
                                  trail.push_back(entry.directory);
                                } else if (S_ISLNK(entry.info.st_mode)) {
                                  if (++links > kMaxLinks) return std::nullopt;
                                  const std::string target = read_link(entry, name);
                                  if (target.starts_with('/')) trail.resize(1);
                                  std::deque<std::string> more = split(target);
                                  parts.insert(parts.begin(), more.begin(), more.end());
                                } else if (S_ISREG(entry.info.st_mode) && parts.empty()) {
                                  return read_regular(entry, name, max_bytes);
                                } else {
                                  return std::nullopt;
                                }
                              }
                              return std::nullopt;  // it is a directory
                            });
}

}  // namespace image
