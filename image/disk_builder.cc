#include "image/disk_builder.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "base/base64.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "image/merged_root.h"
#include "image/registry_name.h"
#include "image/user_namespace.h"
#include "storage/reflink.h"

namespace image {
namespace {

constexpr std::size_t kMaxAccountsBytes = 1 << 20;  // of /etc/passwd and /etc/group each

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
      ext4.inodes *= 2;
    }
  }
}

// --creds as a file of containers-auth.json(5): arguments of a program are everybody's to read.
std::string write_authfile(const std::string& path, const std::string& domain,
                           const std::string& credentials) {
  std::string key;
  for (const char c : domain) {
    if (c == '"' || c == '\\') key += '\\';
    key += c;
  }
  base::write_file(path, base::cat("{\"auths\":{\"", key, "\":{\"auth\":\"",
                                   base::encode_base64(credentials), "\"}}}"));
  return path;
}

}  // namespace

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

DiskBuilder::DiskBuilder(const storage::DataDirectory& data, const Reference& reference,
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
  skopeo_.platform = options.platform;
  if (reference.transport == Transport::kRegistry) {
    skopeo_.tls_verify = options.access.tls_verify;
    skopeo_.authfile = options.access.authfile;
    if (!options.access.credentials.empty()) {
      skopeo_.authfile =
          write_authfile(work_ / "auth.json", parse_registry_name(reference.location).domain,
                         options.access.credentials);
    }
  }
}

DiskBuilder::~DiskBuilder() {
  if (::geteuid() == 0) return;
  try {
    remove_in_user_namespace({layout_.root, skopeo_.work_directory});
  } catch (const std::exception& error) {
    base::log_warn(error.what());
  }
}

void DiskBuilder::check_platform() const {
  // Who chose a platform may have its reasons: 386 runs here too.
  if (options_.platform.given()) return;
  if (!config_.os.empty() && config_.os != "linux") {
    throw base::Error(base::cat("it is for ", base::quoted(config_.os), ", not for Linux"));
  }
  struct utsname host {};
  ::uname(&host);
  const std::string wanted = go_architecture(host.machine);
  if (!config_.architecture.empty() && config_.architecture != wanted) {
    throw base::Error(base::cat("it is for the architecture ", base::quoted(config_.architecture),
                                ", this machine is ", wanted));
  }
}

std::string DiskBuilder::identify() {
  report(options_.progress, "reading image");
  plain_ = PlainLayers::find(reference_);
  const std::string text = plain_ ? plain_->config() : read_image_config(reference_, skopeo_);
  base::fault_point("image.identified");
  config_ = parse_image_config(text);
  check_platform();
  return base::sha256(text);
}

void DiskBuilder::unpack() {
  std::optional<Reference> decompressed;
  const std::string directory = work_ / "tmp/layout";
  if (plain_) {
    decompressed = plain_->write(
        directory, {options_.max_unpacked_bytes, skopeo_.tick, options_.cancellation});
  }
  unpack_image(decompressed.value_or(reference_), layout_, skopeo_);
  base::remove_tree(directory);
}

void DiskBuilder::build(const std::string& hex) {
  report(options_.progress, "unpacking image");
  const std::string& root = layout_.root;
  unpack();
  base::fault_point("image.unpacked");
  const StoredImage image = read_containers_storage(layout_);
  if (image.id != hex) throw base::Error("it changed while it was read");

  ImageMeta meta;
  meta.digest = base::cat("sha256:", hex);
  meta.reference = reference_.text;
  meta.created = config_.created;
  meta.architecture = config_.architecture;
  meta.os = config_.os;
  meta.config = config_.config;
  const std::vector<std::string> layers = keep_layers(layout_, image);
  std::vector<std::string> directories;
  directories.reserve(layers.size());
  for (const std::string& layer : layers) directories.push_back(root + "/" + layer);
  const auto account_file = [&](const char* path) {
    return in_user_namespace(
        [&] { return read_merged_file(directories, path, kMaxAccountsBytes).value_or(""); });
  };
  meta.passwd = account_file("etc/passwd");
  meta.group = account_file("etc/group");
  meta.layers = link_layers(root, layers);

  const TreeSize size = measure_tree(root, options_.max_entries, options_.max_unpacked_bytes);
  if (const auto refusal = guard_.refusal(size)) throw base::Error(*refusal);
  storage::StagingDirectory staging(data_.images(), hex);
  make_disk(root, staging / kDiskFile, size, options_);
  base::fault_point("image.disk");
  base::write_file(staging / kMetaFile, serialize_image_meta(meta));
  base::fault_point("image.meta");
  staging.publish_replacing();
  base::fault_point("image.published");
}

}  // namespace image
