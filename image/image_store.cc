#include "image/image_store.h"

#include <poll.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "base/cancellation.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "image/disk_builder.h"
#include "image/name_index.h"
#include "image/registry_name.h"
#include "image/short_names.h"
#include "storage/reflink.h"
#include "storage/staging.h"
#include "storage/stat_key.h"

namespace image {
namespace {

constexpr std::string_view kDigestPrefix = "sha256:";
constexpr std::size_t kMaxMetaBytes = 16 << 20;
// Shorter beginnings of ids are rather names.
constexpr std::size_t kMinIdChars = 3;
// From being prepared to standing in a VM's record.
constexpr std::chrono::seconds kUseDeadline{10};

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
    case Transport::kRegistry:
    case Transport::kDockerDaemon:
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
  const auto text = base::try_read_file(directory + "/" + kMetaFile, kMaxMetaBytes);
  if (!text) return std::nullopt;
  ImageDisk disk;
  disk.digest = base::cat(kDigestPrefix, hex);
  disk.disk_path = directory + "/" + kDiskFile;
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

std::string lock_path(const storage::DataDirectory& data, const std::string& name) {
  base::make_directories(data.cache() + "/locks", 0700);
  return data.cache() + "/locks/" + name;
}

base::FileLock lock_image(const storage::DataDirectory& data, const std::string& hex,
                          const EnsureOptions& options) {
  const std::string path = lock_path(data, hex);
  for (bool told = false;; told = true) {
    if (base::FileLock lock = base::FileLock::try_acquire(path); lock.held()) return lock;
    if (options.cancellation == nullptr) return base::FileLock::acquire(path);
    if (!told) report(options.progress, "waiting for another fcvm that prepares this image");
    // flock(2) gives nothing to poll for: what is waited for here is the user's Ctrl-C.
    base::wait_for(options.cancellation->fd(), POLLIN, std::chrono::milliseconds(100));
    options.cancellation->check();
  }
}

std::shared_ptr<const base::FileLock> lock_use(const storage::DataDirectory& data,
                                               const std::string& hex) {
  return std::make_shared<const base::FileLock>(
      base::FileLock::acquire(lock_path(data, hex + ".use"), false, kUseDeadline));
}

std::string hex_of(const std::string& digest) {
  return digest.starts_with(kDigestPrefix) ? digest.substr(kDigestPrefix.size()) : digest;
}

bool fits(const ImageMeta& meta, const Platform& platform) {
  return (platform.os.empty() || platform.os == meta.os) &&
         (platform.architecture.empty() || platform.architecture == meta.architecture);
}

// The names an image with that id has where it comes from, complete.
std::vector<std::string> names_at_source(const Reference& reference, const std::string& id) {
  if (reference.transport == Transport::kRegistry) return {reference.location};
  if (reference.transport != Transport::kDockerDaemon &&
      reference.transport != Transport::kContainersStorage) {
    return {};
  }
  // As podman does, what may be the id is not the name.
  if (id.starts_with(hex_of(reference.location))) return {};
  try {
    const RegistryName name = parse_registry_name(reference.location);
    return {(name.is_short() ? name.in("docker.io") : name).text()};
  } catch (const base::Error&) {
    return {};  // "NAME@ID"
  }
}

}  // namespace

ImageDisk ImageStore::ensure(const Reference& reference, const EnsureOptions& options) {
  return base::with_context(base::cat("preparing image ", base::quoted(reference.text)), [&] {
    return reference.transport == Transport::kRegistry ? ensure_from_registry(reference, options)
                                                       : ensure_local(reference, options);
  });
}

ImageDisk ImageStore::ensure(std::string_view reference, const EnsureOptions& options) {
  return ensure(parse_reference(reference), options);
}

ImageDisk ImageStore::keep(ImageDisk disk, const Reference& reference) const {
  disk.meta.reference = reference.text;
  disk.in_use = lock_use(data_, hex_of(disk.digest));
  if (!base::path_exists(disk.disk_path)) throw base::Error("it was removed meanwhile");
  return disk;
}

ImageDisk ImageStore::ensure_local(const Reference& reference, const EnsureOptions& options) {
  // What was copied from a stream is nobody's to name again.
  const bool passing = reference.location.starts_with(data_.images() + "/");
  const std::string memory =
      passing || options.platform.given() ? std::string() : memory_path(data_, reference);
  if (!memory.empty()) {
    if (const auto hex = base::try_read_file(memory, 128); hex && is_hex_digest(*hex)) {
      if (auto disk = open_if_whole(data_, *hex)) return keep(std::move(*disk), reference);
    }
  }
  ImageDisk disk = build(reference, options);
  // Only if it was the same file all the time.
  if (!memory.empty() && memory == memory_path(data_, reference)) {
    base::make_directories(data_.cache() + "/image-ids", 0700);
    base::replace_file(memory, hex_of(disk.digest));
  }
  return disk;
}

ImageDisk ImageStore::ensure_from_registry(const Reference& reference,
                                           const EnsureOptions& options) {
  const RegistryName name = parse_registry_name(reference.location);
  std::optional<Found> here;
  if (options.pull != PullPolicy::kAlways) {
    here = find(reference.text);
    if (!here) here = find(reference.location);
    if (here && !fits(here->disk.meta, options.platform)) here.reset();
  }
  const auto use_here = [&] {
    here->disk.names.clear();
    if (!here->name.empty()) here->disk.names = {here->name};
    return keep(std::move(here->disk), reference);
  };
  if (here && options.pull != PullPolicy::kNewer) return use_here();
  if (options.pull == PullPolicy::kNever) {
    throw base::Error("it is not on this machine, and nothing is to be pulled")
        .set_hint(base::cat("pull it: fcvm image pull ", reference.text));
  }
  std::optional<base::Error> failure;
  for (const RegistryName& candidate : load_short_names(::getenv).remote(name)) {
    Reference complete = registry_reference(candidate.text());
    complete.text = reference.text;
    try {
      ImageDisk disk = build(complete, options);
      disk.names = {complete.location};
      return disk;
    } catch (base::Error& error) {
      // Several registries may have it: what each of them said.
      if (failure) {
        failure = base::Error(base::cat(failure->what(), "; ", error.what()));
      } else {
        failure = error;
      }
    }
  }
  if (here) {
    base::log_info(base::cat("looking for a newer image: ", failure->what()));
    return use_here();
  }
  throw std::move(*failure);
}

ImageDisk ImageStore::build(const Reference& reference, const EnsureOptions& options) {
  remove_stale_unpacked(data_);
  DiskBuilder builder(data_, reference, options);
  const std::string hex = builder.identify();
  const base::FileLock held = lock_image(data_, hex, options);
  auto disk = open_if_whole(data_, hex);
  if (!disk) {
    builder.build(hex);
    disk = try_open(data_, hex);
    if (!disk) throw base::Error("its disk vanished while it was made");
  }
  for (const std::string& name : names_at_source(reference, hex)) {
    NameIndex(data_).set({name, disk->digest});
    disk->names.push_back(name);
  }
  return keep(std::move(*disk), reference);
}

std::vector<ImageDisk> ImageStore::list() const {
  std::vector<ImageDisk> disks;
  const std::vector<NameEntry> names = NameIndex(data_).list();
  for (const std::string& hex : base::list_directory(data_.images())) {
    if (!is_hex_digest(hex)) continue;
    try {
      auto disk = try_open(data_, hex);
      if (!disk) continue;
      for (const NameEntry& entry : names) {
        if (entry.digest == disk->digest) disk->names.push_back(entry.name);
      }
      disks.push_back(std::move(*disk));
    } catch (const base::Error& error) {
      base::log_warn(error.what());
    }
  }
  return disks;
}

ImageDisk ImageStore::get(const std::string& digest) const {
  const std::string hex = hex_of(digest);
  if (is_hex_digest(hex)) {
    if (auto disk = try_open(data_, hex)) return std::move(*disk);
  }
  throw base::Error(base::cat("there is no image ", base::quoted(digest)));
}

std::optional<ImageStore::Found> ImageStore::find(std::string_view text) const {
  const NameIndex index(data_);
  const auto found = [&](const std::string& hex, std::string name) -> std::optional<Found> {
    auto disk = open_if_whole(data_, hex);
    if (!disk) return std::nullopt;
    for (const NameEntry& entry : index.list()) {
      if (entry.digest == disk->digest) disk->names.push_back(entry.name);
    }
    return Found{std::move(*disk), std::move(name)};
  };
  std::optional<RegistryName> name;
  try {
    const bool with_transport = text.starts_with("docker://");
    name = parse_registry_name(with_transport ? text.substr(9) : text);
    if (with_transport && name->is_short()) name = name->in("docker.io");
  } catch (const base::Error&) {
    // An id, then.
  }
  if (name) {
    for (const RegistryName& candidate : load_short_names(::getenv).local(*name)) {
      if (const auto entry = index.find(candidate.text())) {
        if (auto hit = found(hex_of(entry->digest), entry->name)) return hit;
      }
    }
  }
  const std::string prefix = hex_of(std::string(text));
  if (prefix.size() < kMinIdChars || prefix.size() > 64 ||
      prefix.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return std::nullopt;
  }
  std::optional<Found> hit;
  for (const std::string& hex : base::list_directory(data_.images())) {
    if (!is_hex_digest(hex) || !hex.starts_with(prefix)) continue;
    auto other = found(hex, {});
    if (hit && other) {
      throw base::Error(
          base::cat("several images have an ID that begins with ", base::quoted(prefix)));
    }
    if (other) hit = std::move(other);
  }
  return hit;
}

void ImageStore::tag(const std::string& digest, const std::string& name) const {
  NameIndex(data_).set({name, digest});
}

void ImageStore::untag(const std::string& name) const {
  NameIndex(data_).remove(name);
}

std::optional<std::uint64_t> ImageStore::remove(const std::string& digest,
                                                const std::function<bool()>& used) const {
  const std::string context = base::cat("removing image ", base::quoted(digest));
  return base::with_context(context, [&]() -> std::optional<std::uint64_t> {
    const std::string hex = hex_of(digest);
    if (!is_hex_digest(hex)) throw base::Error("it is no id");
    const base::FileLock building = base::FileLock::acquire(lock_path(data_, hex));
    base::FileLock use;
    try {
      use = base::FileLock::acquire(lock_path(data_, hex + ".use"), true, kUseDeadline);
    } catch (const base::Error& error) {
      if (error.errnum() == ETIMEDOUT) throw base::Error("another command is about to use it");
      throw;
    }
    if (used && used()) return std::nullopt;
    const NameIndex index(data_);
    for (const NameEntry& entry : index.list()) {
      if (entry.digest == base::cat(kDigestPrefix, hex)) index.remove(entry.name);
    }
    const auto disk = open_if_whole(data_, hex);
    // Gone in one step; as a temporary without an owner it is swept if this process is killed.
    const std::string gone = data_.images() + "/." + hex + ".removed.tmp";
    base::remove_tree(gone);
    if (::rename((data_.images() + "/" + hex).c_str(), gone.c_str()) != 0 && errno != ENOENT) {
      base::throw_errno("renaming", data_.images() + "/" + hex);
    }
    base::remove_tree(gone);
    return disk ? disk->disk_bytes : 0;
  });
}

void ImageStore::sweep() const {
  remove_stale_unpacked(data_);
  storage::sweep_stale(data_.images());
  storage::sweep_stale(data_.image_names());
}

void ImageStore::sweep_names() const {
  const NameIndex index(data_);
  for (const NameEntry& entry : index.list()) {
    const std::string hex = hex_of(entry.digest);
    const base::FileLock building = base::FileLock::acquire(lock_path(data_, hex));
    if (!base::path_exists(data_.images() + "/" + hex)) index.remove(entry.name);
  }
}

}  // namespace image
