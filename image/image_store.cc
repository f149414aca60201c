#include "image/image_store.h"

#include <poll.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>

#include "base/cancellation.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "image/containers_storage.h"
#include "image/ext4.h"
#include "image/image_config.h"
#include "image/merged_root.h"
#include "image/skopeo.h"
#include "image/user_namespace.h"
#include "storage/reflink.h"
#include "storage/staging.h"
#include "storage/stat_key.h"

namespace image {
namespace {

using Clock = std::chrono::steady_clock;

constexpr char kDisk[] = "disk.ext4";
constexpr char kMeta[] = "meta.json";
constexpr std::string_view kDigestPrefix = "sha256:";
constexpr std::size_t kMaxMetaBytes = 16 << 20;
constexpr std::size_t kMaxAccountsBytes = 1 << 20;  // of /etc/passwd and /etc/group each
constexpr std::uint64_t kReservedBytes = 1ULL << 30;
constexpr std::uint64_t kMaxDepth = 500;

bool is_hex_digest(std::string_view text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

// The file whose identity stands for the whole image; empty where there is none.
std::string identity_file(const Reference& reference) {
  switch (reference.transport) {
    case Transport::kDockerArchive:
    case Transport::kOciArchive:
      return reference.location;
    case Transport::kOciDirectory:
      return reference.location + "/index.json";
    case Transport::kDirectory:
      return reference.location + "/manifest.json";
    case Transport::kContainersStorage:
      return {};
  }
  return {};
}

// Where the id of an unchanged local image is remembered; empty where it cannot be.
std::string memory_path(const storage::DataDirectory& data, const Reference& reference) {
  const std::string file = identity_file(reference);
  if (file.empty()) return {};
  const std::string key = storage::stat_key(base::canonical_path(file));
  return data.cache() + "/image-ids/" +
         base::sha256(base::cat(key, transport_name(reference.transport), ":", reference.name));
}

std::optional<ImageDisk> try_open(const storage::DataDirectory& data, const std::string& hex) {
  const std::string directory = data.images() + "/" + hex;
  const auto text = base::try_read_file(directory + "/" + kMeta, kMaxMetaBytes);
  if (!text) return std::nullopt;
  ImageDisk disk;
  disk.digest = base::cat(kDigestPrefix, hex);
  disk.disk_path = directory + "/" + kDisk;
  disk.disk_bytes = storage::allocated_bytes(disk.disk_path);
  disk.meta = base::with_context(base::cat("opening image disk ", base::quoted(directory)),
                                 [&] { return parse_image_meta(*text); });
  return disk;
}

// The same, but a disk that a crash or somebody has damaged counts as none and is made again.
std::optional<ImageDisk> open_if_whole(const storage::DataDirectory& data, const std::string& hex) {
  try {
    return try_open(data, hex);
  } catch (const base::Error& error) {
    base::log_warn(base::cat(error.what(), ": it is made again"));
    return std::nullopt;
  }
}

void check_platform(const ParsedImageConfig& config) {
  if (!config.os.empty() && config.os != "linux") {
    throw base::Error(base::cat("it is for ", base::quoted(config.os), ", not for Linux"));
  }
  struct utsname host {};
  ::uname(&host);
  const std::string machine = host.machine;
  const std::string wanted = machine == "x86_64"    ? "amd64"
                             : machine == "aarch64" ? "arm64"
                                                    : machine;
  if (!config.architecture.empty() && config.architecture != wanted) {
    throw base::Error(base::cat("it is for the architecture ", base::quoted(config.architecture),
                                ", this machine is ", wanted));
  }
}

// Watches what skopeo unpacks (what it keeps in temporary files RLIMIT_FSIZE bounds). Walking the tree costs time, so it walks a tenth of the time at most.
class UnpackGuard {
 public:
  UnpackGuard(std::string directory, std::string temporaries, const EnsureOptions& options)
      : directory_(std::move(directory)), temporaries_(std::move(temporaries)), options_(options) {}

  std::optional<std::string> check() {
    if (base::free_bytes(directory_) < kReservedBytes) {
      return base::cat("it does not fit: less than ", kReservedBytes >> 20,
                       " MiB are left in the data directory");
    }
    const auto start = Clock::now();
    if (start < next_walk_) return std::nullopt;
    const TreeSize size =
        measure_tree(directory_, options_.max_entries, options_.max_unpacked_bytes);
    const auto end = Clock::now();
    next_walk_ = end + 10 * (end - start);
    // Layers are read into temporary files first, which is half of the time.
    const TreeSize read = measure_tree(temporaries_, options_.max_entries, UINT64_MAX);
    report(options_.progress, "unpacking image", size.data_bytes + read.data_bytes, 0,
           ProgressUnit::kBytes);
    return refusal(size);
  }

  std::optional<std::string> refusal(const TreeSize& size) const {
    if (size.data_bytes > options_.max_unpacked_bytes) {
      return base::cat("it unpacks to more than ", options_.max_unpacked_bytes >> 20,
                       " MiB, the limit");
    }
    if (size.entries > options_.max_entries) {
      return base::cat("it holds more than ", options_.max_entries, " files, the limit");
    }
    if (size.depth > kMaxDepth) {
      return base::cat("its directories are nested deeper than ", kMaxDepth);
    }
    return std::nullopt;
  }

 private:
  std::string directory_;
  std::string temporaries_;
  const EnsureOptions& options_;
  Clock::time_point next_walk_;
};

base::FileLock lock_image(const storage::DataDirectory& data, const std::string& hex,
                          const EnsureOptions& options) {
  base::make_directories(data.cache() + "/locks", 0700);
  const std::string path = data.cache() + "/locks/" + hex;
  for (bool told = false;; told = true) {
    if (base::FileLock lock = base::FileLock::try_acquire(path); lock.held()) return lock;
    if (options.cancellation == nullptr) return base::FileLock::acquire(path);
    if (!told) report(options.progress, "waiting for another fcvm that prepares this image");
    // flock(2) gives nothing to poll for: what is waited for here is the user's Ctrl-C.
    base::wait_for(options.cancellation->fd(), POLLIN, std::chrono::milliseconds(100));
    options.cancellation->check();
  }
}

// The layers under short names that fit 127 times into mount options; the disk's own directories
// have names of 64 digits. `layers` are relative to `root`, top first.
std::vector<std::string> link_layers(const std::string& root,
                                     const std::vector<std::string>& layers) {
  base::make_directories(root + "/layers");
  std::vector<std::string> names;
  for (const std::string& layer : layers) {
    const std::string name = base::cat("layers/", names.size());
    storage::replace_symlink("../" + layer, root + "/" + name);
    names.push_back(name);
  }
  if (names.empty()) {
    // overlay wants one lower directory at least.
    names.emplace_back("layers/0");
    base::make_directories(root + "/" + names.front());
  }
  return names;
}

// The layers a VM needs, relative to the root of `layout`, top first; others are removed.
std::vector<std::string> keep_layers(const StorageLayout& layout, const StoredImage& image) {
  std::vector<std::string> kept;
  std::vector<std::string> superfluous;
  for (const std::string& id : image.layer_ids) {
    // With vfs the top one has all.
    const bool keep = layout.driver == "overlay" || kept.empty();
    const std::string directory = layout.layer_directory(id);
    if (keep) {
      kept.push_back(directory);
    } else {
      superfluous.push_back(layout.root + "/" + directory);
    }
  }
  remove_in_user_namespace(superfluous);
  return kept;
}

// An ordinary user cannot remove what was unpacked in a user namespace without going there again.
void remove_stale_unpacked(const storage::DataDirectory& data) {
  if (::geteuid() == 0) return;
  std::vector<std::string> trees;
  for (const std::string& path : storage::stale_temporaries(data.images())) {
    trees.push_back(path + "/root");
    trees.push_back(path + "/tmp");
  }
  remove_in_user_namespace(trees);
}

void make_disk(const std::string& root, const std::string& file, const TreeSize& size,
               const EnsureOptions& options) {
  Ext4Options ext4;
  ext4.bytes = ext4_bytes_for(size);
  ext4.inodes = size.entries + 64;
  ext4.cancellation = options.cancellation;
  const auto tell = [&](std::uint64_t done) {
    report(options.progress, "making the image disk", std::min(done, size.data_bytes),
           size.data_bytes, ProgressUnit::kBytes);
  };
  ext4.tick = [&] { tell(storage::allocated_bytes(file)); };
  tell(0);
  for (int attempt = 0;; ++attempt) {
    base::write_file(file, {}, 0600);
    try {
      make_ext4(root, file, ext4);
      return;
    } catch (base::Error& error) {
      // Extended attributes and odd names take more than was counted; what is too much is a hole.
      if (error.errnum() != ENOSPC || attempt == 2) throw;
      if (base::free_bytes(file) < kReservedBytes / 8) {
        error.set_hint("free some space in the data directory");
        throw;
      }
      ext4.bytes *= 2;
    }
  }
}

class Builder {
 public:
  Builder(const storage::DataDirectory& data, const Reference& reference,
          const EnsureOptions& options)
      : data_(data),
        reference_(reference),
        options_(options),
        work_(data.images(), "unpacked"),
        guard_(work_ / "root", work_ / "tmp", options) {
    // overlay's whiteouts and opaque directories made without privilege are not the ones the guest's
    // kernel knows: deleted files would come back.
    layout_ = {::geteuid() == 0 ? "overlay" : "vfs", work_ / "root", work_ / "run"};
    base::make_directories(work_ / "tmp", 0700);
    base::make_directories(layout_.root, 0700);
    skopeo_.work_directory = work_ / "tmp";
    skopeo_.max_file_bytes = options.max_unpacked_bytes;
    skopeo_.cancellation = options.cancellation;
    skopeo_.tick = [this] { return guard_.check(); };
  }
  Builder(const Builder&) = delete;
  Builder& operator=(const Builder&) = delete;
  ~Builder() {
    if (::geteuid() == 0) return;
    try {
      remove_in_user_namespace({layout_.root, skopeo_.work_directory});
    } catch (const std::exception& error) {
      base::log_warn(error.what());
    }
  }

  // Reads the configuration; returns the id of the image.
  std::string identify() {
    report(options_.progress, "reading image");
    const std::string text = read_image_config(reference_, skopeo_);
    base::fault_point("image.identified");
    config_ = parse_image_config(text);
    check_platform(config_);
    return base::sha256(text);
  }

  void build(const std::string& hex) {
    report(options_.progress, "unpacking image");
    const std::string& root = layout_.root;
    unpack_image(reference_, layout_, skopeo_);
    base::fault_point("image.unpacked");
    const StoredImage image = read_containers_storage(layout_);
    if (image.id != hex) throw base::Error("it changed while it was read");

    ImageMeta meta;
    meta.digest = base::cat(kDigestPrefix, hex);
    meta.reference = reference_.text;
    meta.created = config_.created;
    meta.architecture = config_.architecture;
    meta.os = config_.os;
    meta.config = config_.config;
    const std::vector<std::string> layers = keep_layers(layout_, image);
    std::vector<std::string> directories;
    directories.reserve(layers.size());
    for (const std::string& layer : layers) directories.push_back(root + "/" + layer);
    meta.passwd = read_merged_file(directories, "etc/passwd", kMaxAccountsBytes).value_or("");
    meta.group = read_merged_file(directories, "etc/group", kMaxAccountsBytes).value_or("");
    meta.layers = link_layers(root, layers);

    const TreeSize size = measure_tree(root, options_.max_entries, options_.max_unpacked_bytes);
    if (const auto refusal = guard_.refusal(size)) throw base::Error(*refusal);
    storage::StagingDirectory staging(data_.images(), hex);
    make_disk(root, staging / kDisk, size, options_);
    base::fault_point("image.disk");
    base::write_file(staging / kMeta, serialize_image_meta(meta));
    base::fault_point("image.meta");
    staging.publish_replacing();
    base::fault_point("image.published");
  }

 private:
  const storage::DataDirectory& data_;
  const Reference& reference_;
  const EnsureOptions& options_;
  storage::StagingDirectory work_;
  StorageLayout layout_;
  UnpackGuard guard_;
  SkopeoOptions skopeo_;
  ParsedImageConfig config_;
};

}  // namespace

ImageDisk ImageStore::ensure(const Reference& reference, const EnsureOptions& options) {
  return base::with_context(base::cat("preparing image ", base::quoted(reference.text)), [&] {
    const std::string memory = memory_path(data_, reference);
    const auto answer = [&](ImageDisk disk) {
      disk.meta.reference = reference.text;
      return disk;
    };
    if (!memory.empty()) {
      if (const auto hex = base::try_read_file(memory, 128); hex && is_hex_digest(*hex)) {
        if (auto disk = open_if_whole(data_, *hex)) return answer(std::move(*disk));
      }
    }
    remove_stale_unpacked(data_);
    Builder builder(data_, reference, options);
    const std::string hex = builder.identify();
    const base::FileLock held = lock_image(data_, hex, options);
    auto disk = open_if_whole(data_, hex);
    if (!disk) {
      builder.build(hex);
      disk = try_open(data_, hex);
      if (!disk) throw base::Error("its disk vanished while it was made");
    }
    // Only if it was the same file all the time.
    if (!memory.empty() && memory == memory_path(data_, reference)) {
      base::make_directories(data_.cache() + "/image-ids", 0700);
      base::replace_file(memory, hex);
    }
    return answer(std::move(*disk));
  });
}

ImageDisk ImageStore::ensure(std::string_view reference, const EnsureOptions& options) {
  return ensure(parse_reference(reference), options);
}

std::vector<ImageDisk> ImageStore::list() const {
  std::vector<ImageDisk> disks;
  for (const std::string& name : base::list_directory(data_.images())) {
    if (!is_hex_digest(name)) continue;
    try {
      if (auto disk = try_open(data_, name)) disks.push_back(std::move(*disk));
    } catch (const base::Error& error) {
      base::log_warn(error.what());
    }
  }
  return disks;
}

ImageDisk ImageStore::get(const std::string& digest) const {
  const std::string hex =
      digest.starts_with(kDigestPrefix) ? digest.substr(kDigestPrefix.size()) : digest;
  if (is_hex_digest(hex)) {
    if (auto disk = try_open(data_, hex)) return std::move(*disk);
  }
  throw base::Error(base::cat("there is no image ", base::quoted(digest)));
}

}  // namespace image
