#include "image/kernel.h"

#include <sys/stat.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/json.h"
#include "image/detail/json_fields.h"
#include "image/kernel_modules.h"
#include "image/packages.h"
#include "storage/shared_assets.h"
#include "storage/staging.h"
#include "storage/stat_key.h"

namespace image {
namespace {

using nlohmann::json;

constexpr int kSchema = 1;
constexpr std::size_t kMaxFileBytes = 512U << 20;
constexpr char kVmlinux[] = "vmlinux.bin";
constexpr char kDescription[] = "kernel.json";

// Without these the agent sees neither its disks nor the host; the others are a loss only. Each takes
// tens of milliseconds to probe under tcg: the guest link comes before the disks.
const std::vector<std::string>& essential_module_names() {
  static const std::vector<std::string> names{"virtio_mmio", "virtio_console", "virtio_blk",
                                              "overlay"};
  return names;
}

Kernel read_kernel(const std::string& directory) {
  return base::with_context(base::cat("opening kernel ", base::quoted(directory)), [&] {
    const json document = base::parse_json(base::read_file(directory + "/" + kDescription));
    if (!document.is_object() || detail::integer_field(document, "schema") != kSchema) {
      throw base::Error("it was made by another version of fcvm");
    }
    Kernel kernel;
    kernel.path = directory + "/" + kVmlinux;
    kernel.release = detail::text_field(document, "release");
    kernel.digest = detail::text_field(document, "digest");
    for (const std::string& name : detail::text_list_field(document, "modules", 256)) {
      kernel.modules.push_back(directory + "/modules/" + name);
    }
    return kernel;
  });
}

// Whole, and of this version; what is torn is made again.
bool is_complete(const std::string& directory) {
  try {
    read_kernel(directory);
    return true;
  } catch (const base::Error&) {
    return false;
  }
}

struct Source {
  std::string image;             // bzImage or vmlinux
  std::string module_directory;  // empty: it has none
};

// Builds <parent>/<name> from `source`.
Kernel publish_kernel(const std::string& parent, const std::string& name, const Source& source) {
  const std::string directory = parent + "/" + name;
  const std::string vmlinux = extract_vmlinux(source.image);
  std::string release = kernel_release(source.image);
  if (release.empty()) release = kernel_release(vmlinux);
  storage::StagingDirectory staging(parent, name);
  base::write_file(staging / kVmlinux, vmlinux, 0644);
  base::make_directories(staging / "modules", 0700);
  json modules = json::array();
  if (!source.module_directory.empty()) {
    std::vector<std::string> optional;
    for (const std::string& module : required_module_names()) optional.push_back(module);
    for (const std::string& file :
         module_closure(source.module_directory, essential_module_names(), optional)) {
      std::string leaf = file.substr(file.rfind('/') + 1);
      leaf.resize(leaf.find(".ko") + 3);
      base::write_file(staging / ("modules/" + leaf), read_module(file), 0644);
      modules.push_back(leaf);
    }
  }
  const json document{{"schema", kSchema},
                      {"release", release},
                      {"digest", base::sha256(vmlinux)},
                      {"modules", modules}};
  base::write_file(staging / kDescription, document.dump(1) + "\n");
  base::fault_point("setup.kernel-built");
  // Lost to another process that made the same: theirs is as good, if it is whole.
  if (!staging.publish() && !is_complete(directory)) staging.publish_replacing();
  return read_kernel(directory);
}

Source source_from_tree(const std::string& tree) {
  Source source;
  for (const std::string& name : base::list_directory(tree + "/boot")) {
    if (!name.starts_with("vmlinuz-")) continue;
    source.image = base::read_file(tree + "/boot/" + name, kMaxFileBytes);
    for (const char* modules : {"/lib/modules/", "/usr/lib/modules/"}) {
      const std::string directory = tree + modules + name.substr(8);
      if (base::is_directory(directory)) source.module_directory = directory;
    }
    return source;
  }
  throw base::Error(base::cat("there is no kernel (boot/vmlinuz-*) in ", base::quoted(tree)));
}

// The directory that a file was imported to, remembered by the file's identity, so that naming the
// same kernel again costs no reading of it.
std::string import_key_path(const storage::DataDirectory& data, const std::string& key) {
  return data.kernels() + "/imported/keys/" + key;
}

}  // namespace

const std::vector<std::string>& required_module_names() {
  static const std::vector<std::string> names{"virtio_mmio", "virtio_console", "virtio_blk",
                                              "overlay",     "virtio_balloon", "virtio_rng"};
  return names;
}

Kernel load_kernel(const storage::DataDirectory& data, const std::string& path) {
  if (path.empty() || path == data.default_kernel()) {
    const std::string link = storage::with_asset(data, "kernels/vmlinux.bin").default_kernel();
    if (!base::path_exists(link)) {
      base::Error error(ENOENT, "opening the guest kernel", link);
      error.set_hint("run 'fcvm setup'");
      throw error;
    }
    const std::string file = base::canonical_path(link);
    return read_kernel(file.substr(0, file.rfind('/')));
  }
  return import_kernel(data, path);
}

Kernel install_kernel_tree(const storage::DataDirectory& data, const std::string& tree,
                           const std::string& distribution, const std::string& version) {
  const std::string parent = data.kernels() + "/" + distribution;
  if (is_complete(parent + "/" + version)) return read_kernel(parent + "/" + version);
  return base::with_context(base::cat("installing kernel ", version), [&] {
    return publish_kernel(parent, version, source_from_tree(tree));
  });
}

Kernel import_kernel(const storage::DataDirectory& data, const std::string& file,
                     const base::Cancellation* cancellation) {
  return base::with_context(base::cat("importing kernel ", base::quoted(file)), [&] {
    const std::string path = base::canonical_path(file);
    if (path.starts_with(data.kernels() + "/") && path.ends_with(std::string("/") + kVmlinux)) {
      return read_kernel(path.substr(0, path.rfind('/')));
    }
    const std::string parent = data.kernels() + "/imported";
    const std::string key_path = import_key_path(data, storage::stat_key(path));
    if (const auto name = base::try_read_file(key_path, 128)) {
      if (is_complete(parent + "/" + *name)) return read_kernel(parent + "/" + *name);
    }
    const std::string image = base::read_file(path, kMaxFileBytes);
    const std::string name = base::sha256(image).substr(0, 32);
    const auto import = [&] {
      if (is_complete(parent + "/" + name)) return read_kernel(parent + "/" + name);
      if (image.starts_with("!<arch>\ndebian-binary")) {
        storage::StagingDirectory tree(parent, "unpacked");
        unpack_package(path, tree.path(), cancellation);
        return publish_kernel(parent, name, source_from_tree(tree.path()));
      }
      Source source{image, {}};
      // Release names come out of the file: only a plain name may become part of a path.
      const std::string release = kernel_release(image);
      if (!release.empty() && release.find('/') == std::string::npos &&
          base::is_directory("/lib/modules/" + release + "/kernel")) {
        source.module_directory = "/lib/modules/" + release;
      }
      return publish_kernel(parent, name, source);
    };
    Kernel kernel = import();
    base::make_directories(parent + "/keys", 0700);
    base::replace_file(key_path, name);
    return kernel;
  });
}

void set_default_kernel(const storage::DataDirectory& data, const Kernel& kernel) {
  const std::string prefix = data.kernels() + "/";
  if (!kernel.path.starts_with(prefix)) {
    throw base::Error(base::cat(base::quoted(kernel.path), " is not in the data directory"));
  }
  const std::string relative = kernel.path.substr(prefix.size());
  storage::replace_symlink(relative.substr(0, relative.rfind('/')), data.kernels() + "/latest");
  storage::replace_symlink(relative, data.default_kernel());
}

}  // namespace image
