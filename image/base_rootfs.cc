#include "image/base_rootfs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/json.h"
#include "base/process.h"
#include "image/detail/json_fields.h"
#include "image/ext4.h"
#include "image/guest_podman.h"
#include "storage/reflink.h"
#include "storage/shared_assets.h"
#include "storage/staging.h"

namespace image {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Changes whenever the same packages would make another tree.
constexpr char kFormat[] = "rootfs 3";
// The engines, and the init of `run --init`.
constexpr std::array kPackages{"catatonit", "conmon", "crun", "podman"};
constexpr std::uint64_t kJournalMib = 16;
constexpr std::uint64_t kMinimumBytes = 64ULL << 20;
// One for 64 KiB: a container's files are on the image disk, what it writes is few files.
constexpr std::uint64_t kBytesPerInode = 64 << 10;

std::string description_path(const storage::DataDirectory& data) {
  return data.rootfs() + "/base.json";
}

std::string file_of(const std::string& key) {
  return "base-" + key + ".ext4";
}

struct Description {
  std::vector<std::string> requested;
  std::string key;
};

std::optional<Description> read_description(const storage::DataDirectory& data) {
  const auto text = base::try_read_file(description_path(data), 1 << 20);
  if (!text) return std::nullopt;
  try {
    const json document = base::parse_json(*text);
    if (!document.is_object() || detail::text_field(document, "format") != kFormat) {
      return std::nullopt;
    }
    Description description{detail::text_list_field(document, "requested", 4096),
                            detail::text_field(document, "key")};
    if (!base::path_exists(data.rootfs() + "/" + file_of(description.key)) ||
        !base::path_exists(data.base_rootfs())) {
      return std::nullopt;
    }
    return description;
  } catch (const base::Error&) {
    return std::nullopt;  // half written by another version: made again
  }
}

// Moves what is in `from` into `to`, folder by folder.
void merge_directory(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::directory_iterator(from)) {
    const fs::path target = to / entry.path().filename();
    if (entry.is_directory() && !entry.is_symlink() && fs::is_directory(target)) {
      merge_directory(entry.path(), target);
    } else {
      fs::rename(entry.path(), target);
    }
  }
  fs::remove(from);
}

// Packages still ship /bin, /lib, /lib64 and /sbin; dpkg relies on the links base-files makes.
void merge_usr(const fs::path& tree) {
  for (const char* name : {"bin", "sbin", "lib", "lib64"}) {
    if (fs::is_symlink(tree / name)) continue;
    if (fs::is_directory(tree / name)) merge_directory(tree / name, tree / "usr" / name);
    fs::create_directories(tree / "usr" / name);
    fs::create_directory_symlink(fs::path("usr") / name, tree / name);
  }
}

// What no program of the base reads.
void strip(const fs::path& tree) {
  for (const char* name :
       {"usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale", "usr/share/lintian",
        "usr/share/bug", "usr/share/gcc", "usr/share/gdb", "usr/share/bash-completion",
        "usr/share/fish", "usr/share/zsh", "usr/lib/locale", "usr/lib/systemd",
        "usr/lib/tmpfiles.d", "var/lib/dpkg",
        // For ordinary users only, and the guest has none.
        "usr/lib/podman/rootlessport"}) {
    fs::remove_all(tree / name);
  }
  // Of libraries, by their multiarch folder: character set converters, audit hooks, what is for
  // compilers and for desktops.
  if (!fs::is_directory(tree / "usr/lib")) return;
  for (const auto& entry : fs::directory_iterator(tree / "usr/lib")) {
    if (!entry.is_directory() || entry.is_symlink()) continue;
    for (const char* name : {"gconv", "audit", "glib-2.0", "libcrun.a"}) {
      fs::remove_all(entry.path() / name);
    }
  }
}

void add_skeleton(const fs::path& tree) {
  for (const char* name : {"dev", "proc", "sys", "run", "mnt", "tmp", "root", "etc", "var/tmp"}) {
    fs::create_directories(tree / name);
  }
  for (const char* name : {"tmp", "var/tmp"}) {
    fs::permissions(tree / name, static_cast<fs::perms>(01777));
  }
  fs::permissions(tree / "root", static_cast<fs::perms>(0700));
  const auto write = [&](const char* name, const char* text) {
    base::write_file(tree / "etc" / name, text, 0644);
  };
  write("passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
  write("group", "root:x:0:\nnogroup:x:65534:\n");
  write("hosts", "127.0.0.1 localhost\n::1 localhost\n");
  write("hostname", "fcvm\n");
  // A VM's own is written while it boots, when each change of a disk costs milliseconds.
  fs::create_symlink("../run/machine-id", tree / "etc/machine-id");
  for (const char* name : {"upper", "work"}) {
    fs::create_directories(tree / "var/lib/fcvm/container" / name);
  }
}

std::vector<std::string> sorted_union(std::vector<std::string> first,
                                      const std::vector<std::string>& second) {
  first.insert(first.end(), second.begin(), second.end());
  std::sort(first.begin(), first.end());
  first.erase(std::unique(first.begin(), first.end()), first.end());
  return first;
}

std::string key_of(const std::vector<PackageFile>& packages) {
  std::string input = kFormat;
  for (const PackageFile& package : packages) input += "\n" + package.name + " " + package.sha256;
  return base::sha256(input).substr(0, 16);
}

void make_disk(const std::string& tree, const std::string& file, std::uint64_t bytes,
               const base::Cancellation* cancellation) {
  Ext4Options options;
  options.bytes = bytes;
  options.inodes = bytes / kBytesPerInode;
  options.journal_mib = kJournalMib;
  options.cancellation = cancellation;
  make_ext4(tree, file, options);
}

void build(const storage::DataDirectory& data, const std::string& key,
           const std::vector<PackageFile>& packages, const BaseRootfsOptions& options) {
  storage::StagingDirectory tree(data.rootfs(), "tree");
  std::uint64_t done = 0;
  for (const PackageFile& package : packages) {
    report(options.progress, "unpacking packages", done++, packages.size(), ProgressUnit::kItems);
    // Each into a folder of its own: unpacking over the links of merge_usr would replace them.
    const std::string own = tree / ("." + package.name);
    base::make_directories(own);
    unpack_package(package.path, own, options.cancellation);
    merge_usr(own);
    merge_directory(own, tree / "root");
  }
  const std::string root = tree / "root";
  strip(root);
  add_skeleton(root);
  configure_guest_podman(root);
  report(options.progress, "making the base root file system");
  base::fault_point("setup.base-unpacked");
  storage::StagingFile staging(data.rootfs(), file_of(key), 0644);
  make_disk(root, staging.path(), kDefaultRootfsBytes, options.cancellation);
  base::fault_point("setup.base-built");
  staging.publish();
}

// Files of other packages than `key`'s. A VM's disk shares extents with the file it was made of, not
// the file itself.
void remove_others(const storage::DataDirectory& data, const std::string& key) {
  for (const std::string& name : base::list_directory(data.rootfs())) {
    if (name.starts_with("base-") && name.ends_with(".ext4") && !name.starts_with("base-" + key)) {
      base::remove_tree(data.rootfs() + "/" + name);
    }
  }
}

void run_tool(std::vector<std::string> argv, int highest_good_status) {
  base::SpawnOptions spawn;
  spawn.argv = std::move(argv);
  spawn.parent_death_signal = SIGKILL;
  const std::string name = spawn.argv.front();
  const base::CommandResult result = base::run_command(std::move(spawn));
  if (result.status.signal != 0 || result.status.code > highest_good_status) {
    throw base::Error(base::cat(name, " failed: ", result.err));
  }
}

}  // namespace

BaseRootfs ensure_base_rootfs(const storage::DataDirectory& data, PackageArchive& packages,
                              const BaseRootfsOptions& options) {
  return base::with_context("making the base root file system", [&] {
    const std::vector<std::string> own(kPackages.begin(), kPackages.end());
    const std::vector<std::string> requested = sorted_union(options.extra_packages, own);
    if (const auto known = read_description(data);
        known && !options.force && known->requested == requested) {
      return BaseRootfs{data.rootfs() + "/" + file_of(known->key), known->key};
    }
    report(options.progress, "resolving packages");
    std::vector<std::string> names =
        packages.closure(own, {kNotInGuest.begin(), kNotInGuest.end()});
    if (!options.extra_packages.empty()) {
      names = sorted_union(std::move(names), packages.closure(options.extra_packages));
    }
    const std::vector<PackageFile> files = packages.fetch(names);
    const std::string key = key_of(files);
    const std::string path = data.rootfs() + "/" + file_of(key);
    if (!base::path_exists(path)) build(data, key, files, options);
    base::fault_point("setup.base");
    storage::replace_symlink(file_of(key), data.base_rootfs());
    base::fault_point("setup.base-linked");
    json versions = json::object();
    for (const PackageFile& file : files) versions[file.name] = file.version;
    const json description{
        {"format", kFormat}, {"requested", requested}, {"key", key}, {"packages", versions}};
    base::replace_file(description_path(data), description.dump(1) + "\n", 0600, true);
    remove_others(data, key);
    return BaseRootfs{path, key};
  });
}

BaseRootfs base_rootfs_of_size(const storage::DataDirectory& data, std::uint64_t bytes) {
  const storage::DataDirectory source = storage::with_asset(data, "rootfs/base.json");
  const auto known = read_description(source);
  if (!known) {
    base::Error error(ENOENT, "opening the base root file system", data.base_rootfs());
    error.set_hint("run 'fcvm setup'");
    throw error;
  }
  const BaseRootfs base{source.rootfs() + "/" + file_of(known->key), known->key};
  if (bytes == kDefaultRootfsBytes) return base;
  return base::with_context(base::cat("making a root file system of ", bytes >> 20, " MiB"), [&] {
    if (bytes < kMinimumBytes) {
      throw base::Error(base::cat("at least ", kMinimumBytes >> 20, " MiB are needed"));
    }
    const std::uint64_t whole = bytes / 4096 * 4096;
    const std::string key = base::cat(known->key, "-", whole);
    const std::string path = data.rootfs() + "/" + file_of(key);
    if (base::path_exists(path)) return BaseRootfs{path, key};
    storage::StagingFile staging(data.rootfs(), file_of(key), 0644);
    storage::reflink_or_copy(base::open_file(base.path, O_RDONLY), staging.fd());
    // resize2fs wants a file system that was checked; 1 means it corrected something.
    run_tool({"e2fsck", "-fy", staging.path()}, 1);
    if (whole > kDefaultRootfsBytes &&
        ::ftruncate(staging.fd().get(), static_cast<off_t>(whole)) < 0) {
      base::throw_errno("setting the size of", staging.path());
    }
    run_tool({"resize2fs", staging.path(), base::cat(whole / 1024, "K")}, 0);
    if (::ftruncate(staging.fd().get(), static_cast<off_t>(whole)) < 0) {
      base::throw_errno("setting the size of", staging.path());
    }
    staging.publish();
    return BaseRootfs{path, key};
  });
}

}  // namespace image
