#include "image/unpack_guard.h"

#include <cstdint>

#include "base/error.h"
#include "base/files.h"

namespace image {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kMaxDepth = 500;

}  // namespace

std::optional<std::string> UnpackGuard::check() {
  if (base::free_bytes(directory_) < kReservedBytes) {
    return base::cat("it does not fit: less than ", kReservedBytes >> 20,
                     " MiB are left in the data directory");
  }
  const auto start = Clock::now();
  if (start < next_walk_) return std::nullopt;
  const TreeSize size = measure_tree(directory_, options_.max_entries, options_.max_unpacked_bytes);
  const auto end = Clock::now();
  next_walk_ = end + 10 * (end - start);
  // Layers are read into temporary files first, which is half of the time.
  const TreeSize read = measure_tree(temporaries_, options_.max_entries, UINT64_MAX);
  report(options_.progress, "unpacking image", size.data_bytes + read.data_bytes, 0,
         ProgressUnit::kBytes);
  return refusal(size);
}

std::optional<std::string> UnpackGuard::refusal(const TreeSize& size) const {
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

}  // namespace image
