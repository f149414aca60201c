#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "base/digest.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "image/base_rootfs.h"
#include "image/kernel.h"
#include "image/seccomp_profile.h"
#include "storage/data_directory.h"
#include "storage/reflink.h"
#include "vm/doctor/checks.h"

namespace vm {
namespace {

constexpr char kNothingRuns[] = "no container runs";

// A hint is a sentence; here the command alone is wanted.
std::string fix_of(const base::Error& error, const char* otherwise) {
  if (error.hint().find("fcvm setup") != std::string::npos) return "fcvm setup";
  return error.hint().empty() ? otherwise : error.hint();
}

Check reflink_check(const storage::DataDirectory& data) {
  const char name[] = "reflink";
  try {
    if (storage::supports_reflink(data.root())) return ok(name, data.root());
  } catch (const base::Error& error) {
    return prevented(name, error.what(), kNothingRuns, "make the data directory writable");
  }
  return degraded(name, base::cat("the file system of ", data.root(), " has no reflinks"),
                  "the disk of each VM is a copy, which takes time and space",
                  "put the data directory on btrfs or XFS (--data-dir)");
}

Check kernel_check(const storage::DataDirectory& data) {
  const char name[] = "kernel";
  try {
    const image::Kernel kernel = image::load_kernel(data);
    const std::string folder = kernel.path.substr(0, kernel.path.rfind('/'));
    const std::string again = base::cat("rm -r ", folder, " && fcvm setup");
    for (const std::string& module : kernel.modules) {
      if (!base::path_exists(module)) {
        return prevented(name, base::cat(module, " is gone"), kNothingRuns, again);
      }
    }
    if (base::sha256_file(kernel.path) != kernel.digest) {
      return prevented(name, base::cat(kernel.path, " was altered: its digest does not fit"),
                       kNothingRuns, again);
    }
    return ok(name, base::cat(kernel.release, " (", kernel.path, ")"));
  } catch (const base::Error& error) {
    return prevented(name, error.what(), kNothingRuns, fix_of(error, "fcvm setup --force"));
  }
}

// Of the superblock, fs/ext4/ext4.h: s_magic.
bool is_ext4(const std::string& path) {
  constexpr off_t kMagicOffset = 1080;
  const base::Fd file = base::open_file(path, O_RDONLY);
  std::array<unsigned char, 2> magic{};
  return ::pread(file.get(), magic.data(), magic.size(), kMagicOffset) == 2 && magic[0] == 0x53 &&
         magic[1] == 0xef;
}

Check base_check(const storage::DataDirectory& data) {
  const char name[] = "base";
  try {
    const image::BaseRootfs base = image::base_rootfs_of_size(data);
    if (!is_ext4(base.path)) {
      return prevented(name, base::cat(base.path, " holds no ext4 file system"), kNothingRuns,
                       base::cat("rm ", base.path, " && fcvm setup"));
    }
    image::seccomp_profile(data);
    return ok(name, base.path);
  } catch (const base::Error& error) {
    return prevented(name, error.what(), kNothingRuns, fix_of(error, "fcvm setup --force"));
  }
}

}  // namespace

std::vector<Check> data_checks(const std::string& data_dir) {
  try {
    const storage::DataDirectory data = storage::open_data_directory(data_dir);
    return {reflink_check(data), kernel_check(data), base_check(data)};
  } catch (const base::Error& error) {
    std::vector<Check> checks;
    for (const char* name : {"reflink", "kernel", "base"}) {
      checks.push_back(prevented(name, error.what(), kNothingRuns, fix_of(error, "fcvm setup")));
    }
    return checks;
  }
}

}  // namespace vm
