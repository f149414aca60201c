#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "image/ext4.h"
#include "image/image_store.h"

namespace image {

// Watches what skopeo unpacks (what it keeps in temporary files RLIMIT_FSIZE bounds). Walking the
// tree costs time, so it walks a tenth of the time at most.
class UnpackGuard {
 public:
  // `options` must outlive the object.
  UnpackGuard(std::string directory, std::string temporaries, const EnsureOptions& options)
      : directory_(std::move(directory)), temporaries_(std::move(temporaries)), options_(options) {}

  // Reports progress; a text when the image is refused.
  std::optional<std::string> check();
  // Why a tree of this size is too much; empty when it is not.
  std::optional<std::string> refusal(const TreeSize& size) const;

 private:
  std::string directory_;
  std::string temporaries_;
  const EnsureOptions& options_;
  std::chrono::steady_clock::time_point next_walk_;
};

// Free space that no image may use up.
inline constexpr std::uint64_t kReservedBytes = 1ULL << 30;

}  // namespace image
