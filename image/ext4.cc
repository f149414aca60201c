#include "image/ext4.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <memory>
#include <sstream>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "image/user_namespace.h"

namespace image {
namespace {

constexpr std::uint64_t kBlockBytes = 4096;
constexpr std::uint64_t kInodeBytes = 256;
// Deeper than any real tree; PATH_MAX lets an archive make 2048 levels, one descriptor each here.
constexpr std::uint64_t kMaxDepth = 512;

std::uint64_t round_up(std::uint64_t bytes) {
  return (bytes + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

class Measure {
 public:
  Measure(std::uint64_t max_entries, std::uint64_t max_bytes)
      : max_entries_(max_entries), max_bytes_(max_bytes) {}

  void add(base::Fd fd, std::uint64_t depth) {
    size_.depth = std::max(size_.depth, depth);
    if (depth > kMaxDepth) return;
    const std::unique_ptr<DIR, int (*)(DIR*)> dir(::fdopendir(fd.get()), ::closedir);
    if (!dir) base::throw_errno("reading a directory");
    fd.release();
    while (const dirent* entry = ::readdir(dir.get())) {
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      struct stat info {};
      if (::fstatat(::dirfd(dir.get()), entry->d_name, &info, AT_SYMLINK_NOFOLLOW) < 0) continue;
      ++size_.entries;
      // An entry costs its directory the name and eight bytes, of blocks that may be half empty.
      size_.data_bytes += 2 * (name.size() + 12);
      if (S_ISREG(info.st_mode)) {
        size_.data_bytes += round_up(static_cast<std::uint64_t>(info.st_size));
      } else if (S_ISDIR(info.st_mode) || S_ISLNK(info.st_mode)) {
        size_.data_bytes += kBlockBytes;
      }
      if (size_.entries > max_entries_ || size_.data_bytes > max_bytes_) return;
      if (!S_ISDIR(info.st_mode)) continue;
      base::Fd child(::openat(::dirfd(dir.get()), entry->d_name,
                              O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (child) {
        add(std::move(child), depth + 1);
      } else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP) {
        base::throw_errno("opening", entry->d_name);
      }
      if (size_.entries > max_entries_ || size_.data_bytes > max_bytes_) return;
    }
  }

  const TreeSize& size() const { return size_; }

 private:
  std::uint64_t max_entries_;
  std::uint64_t max_bytes_;
  TreeSize size_{1, kBlockBytes, 0};
};

std::vector<std::string> mke2fs_command(const std::string& directory, const std::string& file,
                                        const Ext4Options& options, bool prezeroed) {
  std::vector<std::string> argv = user_namespace_prefix();
  // nodiscard: the file is one hole, punching it again takes time. The tables of a file that reads
  // as zeros need no zeroing, neither here nor by the guest's kernel in the background.
  std::string extended = "root_owner=0:0,nodiscard,lazy_itable_init=1,lazy_journal_init=1";
  if (prezeroed) extended += ",assume_storage_prezeroed=1";
  const std::string features =
      options.journal_mib == 0 ? "^has_journal,^resize_inode" : "^resize_inode,sparse_super2";
  argv.insert(argv.end(), {"mke2fs", "-q", "-F", "-t", "ext4", "-b", std::to_string(kBlockBytes),
                           "-I", std::to_string(kInodeBytes), "-m", "0", "-O", features, "-E",
                           extended, "-d", directory});
  if (options.inodes != 0) argv.insert(argv.end(), {"-N", std::to_string(options.inodes)});
  if (options.journal_mib != 0) {
    argv.insert(argv.end(), {"-J", base::cat("size=", options.journal_mib)});
  }
  argv.insert(argv.end(), {file, base::cat(options.bytes / 1024, "k")});
  return argv;
}

}  // namespace

TreeSize measure_tree(const std::string& directory, std::uint64_t max_entries,
                      std::uint64_t max_bytes) {
  const std::string counted = in_user_namespace([&] {
    Measure measure(max_entries, max_bytes);
    measure.add(base::open_file(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW), 0);
    const TreeSize& size = measure.size();
    return base::cat(size.entries, " ", size.data_bytes, " ", size.depth);
  });
  TreeSize size;
  std::istringstream(counted) >> size.entries >> size.data_bytes >> size.depth;
  return size;
}

std::uint64_t ext4_bytes_for(const TreeSize& tree) {
  const std::uint64_t content = tree.data_bytes + tree.entries * kInodeBytes;
  // Bitmaps, group descriptors and the blocks of extent trees come to under 2 %. What is not used
  // is a hole in the file.
  return round_up(content + content / 16 + (32ULL << 20));
}

void make_ext4(const std::string& directory, const std::string& file, const Ext4Options& options) {
  for (const bool prezeroed : {true, false}) {
    base::SpawnOptions spawn;
    spawn.argv = mke2fs_command(directory, file, options, prezeroed);
    spawn.parent_death_signal = SIGKILL;
    base::CommandOptions command;
    command.timeout = std::chrono::hours(2);
    command.cancellation = options.cancellation;
    if (options.tick) {
      command.tick = [&options]() -> std::optional<std::string> {
        options.tick();
        return std::nullopt;
      };
    }
    base::CommandResult result;
    try {
      result = base::run_command(std::move(spawn), command);
    } catch (base::Error& error) {
      if (error.errnum() == ENOENT) error.set_hint("install the package e2fsprogs");
      throw;
    }
    if (result.status.success()) return;
    // COMPAT(e2fsprogs 1.47): an older one does not know assume_storage_prezeroed.
    if (prezeroed && result.err.find("Bad option") != std::string::npos) continue;
    const bool full = result.err.find("allocate block") != std::string::npos ||
                      result.err.find("allocate inode") != std::string::npos ||
                      result.err.find("No space") != std::string::npos ||
                      result.err.find("no space") != std::string::npos ||
                      result.err.find("No free space") != std::string::npos;
    while (!result.err.empty() && result.err.back() == '\n') result.err.pop_back();
    const std::string last = result.err.substr(result.err.rfind('\n') + 1);
    if (full) throw base::Error(ENOSPC, base::cat("making a file system (", last, ")"));
    throw base::Error(base::cat("making a file system: ", last));
  }
}

}  // namespace image
