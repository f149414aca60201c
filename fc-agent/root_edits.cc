#include "fc-agent/root_edits.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/mount.h"

namespace fc_agent {
namespace {

constexpr int kMaxLinks = 40;  // as the kernel's own limit, MAXSYMLINKS

// Empty, with errno, on failure.
base::Fd open_inside(const base::Fd& root, const std::string& path, int flags, mode_t mode = 0) {
  open_how how{};
  how.flags = static_cast<__u64>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  return base::Fd(static_cast<int>(
      ::syscall(SYS_openat2, root.get(), path.empty() ? "/" : path.c_str(), &how, sizeof how)));
}

std::string descriptor_path(const base::Fd& fd) {
  return base::cat("/proc/self/fd/", fd.get());
}

struct NewDirectory {
  mode_t mode = 0755;
  uid_t uid = 0;
  gid_t gid = 0;
};

// The directory `path` in `root`, made with its parents where missing; `leaf` is for the last part
// if it is made here. A link that points nowhere is followed to where the directory should be.
base::Fd make_inside(const base::Fd& root, const std::string& path, const NewDirectory& leaf,
                     int links_left = kMaxLinks) {
  std::string reached;
  std::string_view rest = path;
  base::Fd directory = open_inside(root, "/", O_PATH | O_DIRECTORY);
  while (true) {
    rest.remove_prefix(std::min(rest.find_first_not_of('/'), rest.size()));
    if (rest.empty()) return directory;
    const std::string name(rest.substr(0, rest.find('/')));
    rest.remove_prefix(name.size());
    const bool last = rest.find_first_not_of('/') == std::string_view::npos;
    const std::string next = base::cat(reached, "/", name);

    base::Fd child = open_inside(root, next, O_PATH | O_DIRECTORY);
    if (!child && errno == ENOENT) {
      const NewDirectory wanted = last ? leaf : NewDirectory{};
      if (::mkdirat(directory.get(), name.c_str(), 0700) == 0) {
        child = open_inside(root, next, O_PATH | O_DIRECTORY);
        if (!child) base::throw_errno("opening folder", next);
        // Through /proc, for the descriptor itself only names the folder.
        if (::fchownat(child.get(), "", wanted.uid, wanted.gid, AT_EMPTY_PATH) != 0 ||
            ::chmod(descriptor_path(child).c_str(), wanted.mode & 07777) != 0) {
          base::throw_errno("setting owner and mode of", next);
        }
      } else if (errno == EEXIST) {
        std::array<char, 4096> target;
        const ssize_t n = ::readlinkat(directory.get(), name.c_str(), target.data(), target.size());
        if (n <= 0 || links_left == 0) throw base::Error(ELOOP, "making folder", next);
        const std::string link(target.data(), static_cast<std::size_t>(n));
        child = make_inside(root, link.front() == '/' ? link : base::cat(reached, "/", link),
                            wanted, links_left - 1);
      } else {
        base::throw_errno("making folder", next);
      }
    }
    if (!child) base::throw_errno("opening folder", next);
    directory = std::move(child);
    reached = next;
  }
}

// The folder `path` lies in, made when missing, and the last part of `path`.
struct Place {
  base::Fd folder;
  std::string name;
};
Place place_of(const base::Fd& root, const std::string& path) {
  const auto slash = path.rfind('/');
  Place place;
  place.name = path.substr(slash + 1);
  if (place.name.empty() || place.name == "." || place.name == "..") {
    throw base::Error(EINVAL, "changing the container's", path);
  }
  place.folder = make_inside(root, path.substr(0, slash), {});
  return place;
}

// Looked at before it is opened for real: opening a device or a FIFO of the image has effects.
void require_regular(const base::Fd& file, const std::string& path) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) base::throw_errno("examining", path);
  if (!S_ISREG(info.st_mode)) {
    throw base::Error(base::cat("opening the container's ", base::quoted(path), ": not a file"));
  }
}

void append_inside(const base::Fd& root, const wire::PlanRootEdit& edit) {
  base::Fd file = open_inside(root, edit.path, O_PATH);
  if (file) {
    require_regular(file, edit.path);
    constexpr std::size_t kMaxBytes = 1 << 20;
    const std::string before =
        base::read_to_end(base::open_file(descriptor_path(file), O_RDONLY), kMaxBytes);
    // The VM was started before: its disk has the text already.
    if (before.ends_with(edit.text)) return;
    file = base::open_file(descriptor_path(file), O_WRONLY | O_APPEND);
    // Images have passwd files whose last line lacks its end; ours must not become part of it.
    if (!before.empty() && before.back() != '\n') base::write_all(file, std::string_view("\n"));
  } else {
    place_of(root, edit.path);
    file = open_inside(root, edit.path, O_WRONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0644);
    if (!file) base::throw_errno("making file", edit.path);
  }
  base::write_all(file, edit.text);
}

void apply(const base::Fd& root, const wire::PlanRootEdit& edit) {
  using Kind = wire::PlanRootEdit::Kind;
  const NewDirectory wanted{static_cast<mode_t>(edit.mode), edit.uid, edit.gid};
  switch (edit.kind) {
    case Kind::kMakeDirectory:
      make_inside(root, edit.path, wanted);
      return;
    case Kind::kRequireDirectory:
      if (!open_inside(root, edit.path, O_PATH | O_DIRECTORY)) throw base::Error(edit.text);
      return;
    case Kind::kAppend:
      append_inside(root, edit);
      return;
    case Kind::kSymlink: {
      const Place place = place_of(root, edit.path);
      if (::symlinkat(edit.text.c_str(), place.folder.get(), place.name.c_str()) != 0 &&
          errno != EEXIST) {
        base::throw_errno("making link", edit.path);
      }
      return;
    }
    case Kind::kBind: {
      const base::Fd source = make_inside(root, edit.path, wanted);
      base::make_directories(edit.text);
      base::mount_fs(descriptor_path(source), edit.text, "", MS_BIND);
      return;
    }
  }
}

}  // namespace

void apply_root_edits(const std::string& root, const std::vector<wire::PlanRootEdit>& edits) {
  if (edits.empty()) return;
  const base::Fd root_fd = base::open_file(root, O_PATH | O_DIRECTORY);
  for (const auto& edit : edits) apply(root_fd, edit);
}

std::string read_inside(const std::string& root, const std::string& path, std::size_t max_bytes) {
  const base::Fd file = open_inside(base::open_file(root, O_PATH | O_DIRECTORY), path, O_PATH);
  if (!file) {
    if (errno == ENOENT) return {};
    base::throw_errno("opening the container's", path);
  }
  require_regular(file, path);
  return base::with_context(base::cat("reading the container's ", base::quoted(path)), [&] {
    return base::read_to_end(base::open_file(descriptor_path(file), O_RDONLY), max_bytes);
  });
}

void replace_inside(const std::string& root, const std::string& path, const std::string& expected,
                    const std::string& text) {
  constexpr std::size_t kSlack = 16;
  const std::string found = read_inside(root, path, expected.size() + kSlack);
  if (found != expected && found != expected + "\n") return;
  const base::Fd file = open_inside(base::open_file(root, O_PATH | O_DIRECTORY), path, O_PATH);
  if (!file) base::throw_errno("opening the container's", path);
  base::with_context(base::cat("writing the container's ", base::quoted(path)), [&] {
    base::write_all(base::open_file(descriptor_path(file), O_WRONLY | O_TRUNC),
                    found == expected ? text : text + "\n");
  });
}

void set_sysctl(const std::string& proc_sys, const std::string& name, const std::string& value) {
  std::string path = name;
  std::replace(path.begin(), path.end(), '.', '/');
  if (path.empty() || path.front() == '/' || path.find("//") != std::string::npos) {
    throw base::Error(EINVAL, "setting kernel parameter", name);
  }
  const base::Fd file = base::open_file(base::cat(proc_sys, "/", path), O_WRONLY);
  base::with_context(base::cat("setting kernel parameter ", base::quoted(name)),
                     [&] { base::write_all(file, value); });
}

}  // namespace fc_agent
