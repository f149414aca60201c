#include "image/seccomp_profile.h"

#include "base/error.h"
#include "base/files.h"
#include "base/json.h"
#include "storage/shared_assets.h"
#include "storage/staging.h"

#include <nlohmann/json.hpp>

namespace image {
namespace {

constexpr char kPackage[] = "golang-github-containers-common";
constexpr char kFileInPackage[] = "/usr/share/containers/seccomp.json";
constexpr char kName[] = "seccomp.json";
constexpr std::size_t kMaxBytes = 1 << 20;

bool is_profile(const std::string& text) {
  try {
    return base::parse_json(text, kMaxBytes).is_object();
  } catch (const base::Error&) {
    return false;
  }
}

}  // namespace

void ensure_seccomp_profile(const storage::DataDirectory& data, PackageArchive& packages,
                            bool force, const ProgressCallback& progress,
                            const base::Cancellation* cancellation) {
  const auto known = base::try_read_file(data.rootfs() + "/" + kName, kMaxBytes);
  if (!force && known && is_profile(*known)) return;
  base::with_context("installing the seccomp profile", [&] {
    report(progress, "fetching the seccomp profile");
    const std::vector<PackageFile> files = packages.fetch({kPackage});
    const storage::StagingDirectory tree(data.cache(), "seccomp");
    unpack_package(files.front().path, tree.path(), cancellation);
    const std::string text = base::read_file(tree.path() + kFileInPackage, kMaxBytes);
    // A profile that cannot be read is better found now than at the first run.
    if (!is_profile(text)) throw base::Error("the profile is not a JSON object");
    base::replace_file(data.rootfs() + "/" + kName, text, 0644, true);
  });
}

std::string seccomp_profile(const storage::DataDirectory& data) {
  const std::string folder = storage::with_asset(data, base::cat("rootfs/", kName)).rootfs();
  auto text = base::try_read_file(folder + "/" + kName, kMaxBytes);
  if (text) return *std::move(text);
  base::Error error("there is no seccomp profile");
  error.set_hint("run: fcvm setup");
  throw error;
}

}  // namespace image
