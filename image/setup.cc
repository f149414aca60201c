#include "image/setup.h"

#include <unistd.h>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process.h"
#include "image/seccomp_profile.h"
#include "storage/shared_assets.h"
#include "storage/staging.h"

namespace image {
namespace {

constexpr char kKernelMetaPackage[] = "linux-image-cloud-amd64";

// kernels/<distribution>/<version>; the version is the package's, for one release is rebuilt with
// security fixes.
Kernel install_distribution_kernel(const storage::DataDirectory& data, PackageArchive& packages,
                                   const SetupOptions& options) {
  return base::with_context("installing the guest kernel", [&] {
    report(options.progress, "resolving the kernel");
    const std::string name = packages.kernel_package(kKernelMetaPackage);
    const std::vector<PackageFile> files = packages.fetch({name});
    report(options.progress, "unpacking the kernel");
    storage::StagingDirectory tree(data.cache(), "kernel");
    unpack_package(files.front().path, tree.path(), options.cancellation);
    base::fault_point("setup.kernel-unpacked");
    const std::string prefix = "linux-image-";
    return install_kernel_tree(data, tree.path(), host_distribution().id,
                               name.substr(prefix.size()) + "_" + files.front().version);
  });
}

Kernel setup_kernel(const storage::DataDirectory& data, PackageArchive& packages,
                    const SetupOptions& options) {
  if (options.kernel_file.empty() && !options.force && base::path_exists(data.default_kernel())) {
    try {
      return load_kernel(data);
    } catch (const base::Error& error) {
      base::log_warn(base::cat(error.what(), ": it is made again"));
    }
  }
  Kernel kernel = options.kernel_file.empty()
                      ? install_distribution_kernel(data, packages, options)
                      : import_kernel(data, options.kernel_file, options.cancellation);
  base::fault_point("setup.kernel");
  set_default_kernel(data, kernel);
  return kernel;
}

}  // namespace

std::string setup_lock_path(const storage::DataDirectory& data) {
  return data.cache() + "/setup.lock";
}

SetupResult run_setup(const storage::DataDirectory& data, const SetupOptions& options) {
  SetupResult result;
  report(options.progress, "preparing the data directory");
  result.kind = storage::prepare_data_directory(data, {options.loop_file_bytes});
  base::fault_point("setup.data");
  const base::FileLock held = base::FileLock::acquire(setup_lock_path(data));
  PackageArchive packages(data.cache(), options.progress, options.cancellation);
  result.kernel = setup_kernel(data, packages, options);
  result.base = ensure_base_rootfs(
      data, packages,
      {options.base_packages, options.force, options.progress, options.cancellation});
  ensure_seccomp_profile(data, packages, options.force, options.progress, options.cancellation);
  base::fault_point("setup.profile");
  if (::geteuid() == 0) storage::share_assets(data);
  report(options.progress, "making the initramfs");
  result.initramfs = ensure_initramfs(
      data, options.agent_path.empty() ? base::find_own_program("fc-agent") : options.agent_path,
      result.kernel);
  return result;
}

}  // namespace image
