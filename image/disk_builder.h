// Makes one image disk: skopeo unpacks, mke2fs packs.
#pragma once

#include <optional>
#include <string>

#include "image/containers_storage.h"
#include "image/image_config.h"
#include "image/image_store.h"
#include "image/plain_layers.h"
#include "image/skopeo.h"
#include "image/unpack_guard.h"
#include "storage/staging.h"

namespace image {

inline constexpr char kDiskFile[] = "disk.ext4";
inline constexpr char kMetaFile[] = "meta.json";

// One object per image; what it unpacks goes away with it. All throw base::Error and
// base::Cancelled.
class DiskBuilder {
 public:
  // The arguments must outlive the object.
  DiskBuilder(const storage::DataDirectory& data, const Reference& reference,
              const EnsureOptions& options);
  DiskBuilder(const DiskBuilder&) = delete;
  DiskBuilder& operator=(const DiskBuilder&) = delete;
  ~DiskBuilder();

  // Reads the configuration; returns the id of the image: 64 digits.
  std::string identify();
  // Publishes <data>/images/<hex>. Hold the lock of that image.
  void build(const std::string& hex);

 private:
  void check_platform() const;
  void unpack();

  const storage::DataDirectory& data_;
  const Reference& reference_;
  const EnsureOptions& options_;
  storage::StagingDirectory work_;
  StorageLayout layout_;
  UnpackGuard guard_;
  SkopeoOptions skopeo_;
  ParsedImageConfig config_;
  std::optional<PlainLayers> plain_;  // where the image has them
};

// An ordinary user cannot remove what was unpacked in a user namespace without going there again:
// does that for what killed builders left.
void remove_stale_unpacked(const storage::DataDirectory& data);

}  // namespace image
