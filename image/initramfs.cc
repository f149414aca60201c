#include "image/initramfs.h"

#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "image/cpio.h"
#include "storage/staging.h"
#include "storage/stat_key.h"

namespace image {
namespace {

constexpr std::size_t kMaxAgentBytes = 64U << 20;
// Changes whenever build() makes other bytes of the same input.
constexpr char kFormat[] = "initramfs 1\n";

std::string leaf(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// Uncompressed: unpacking 2 MiB of zstd takes a tcg guest longer than reading them does.
std::string build(const std::string& agent_path, const Kernel& kernel) {
  CpioWriter cpio;
  // The kernel opens /dev/console for init before anything is mounted (init/main.c).
  for (const char* name : {"dev", "proc", "sys", "run", "mnt", "newroot", "image", "modules"}) {
    cpio.add_directory(name);
  }
  cpio.add_character_device("dev/console", 5, 1);
  cpio.add_file("init", base::read_file(agent_path, kMaxAgentBytes), 0755);
  std::string order;
  for (const std::string& module : kernel.modules) {
    const std::string name = "modules/" + leaf(module);
    cpio.add_file(name, base::read_file(module));
    order += "/" + name + "\n";
  }
  cpio.add_file("modules/order", order);
  return cpio.finish();
}

std::string input_key(const std::string& agent_path, const Kernel& kernel) {
  std::string input = kFormat + storage::stat_key(agent_path) + kernel.path;
  // Modules lie in a directory that was published whole and never changes.
  for (const std::string& module : kernel.modules) input += "\n" + module;
  return base::sha256(input);
}

}  // namespace

Initramfs ensure_initramfs(const storage::DataDirectory& data, const std::string& agent_path,
                           const Kernel& kernel) {
  return base::with_context("making the initramfs", [&] {
    const auto named = [&](const std::string& digest) {
      return Initramfs{data.initramfs() + "/" + digest + ".cpio", digest};
    };
    const std::string key_path = data.initramfs() + "/" + input_key(agent_path, kernel) + ".key";
    if (const auto digest = base::try_read_file(key_path, 128)) {
      if (Initramfs known = named(*digest); base::path_exists(known.path)) return known;
    }
    const std::string content = build(agent_path, kernel);
    Initramfs made = named(base::sha256(content));
    if (!base::path_exists(made.path)) {
      storage::StagingFile staging(data.initramfs(), leaf(made.path), 0644);
      base::write_all(staging.fd(), content);
      base::fault_point("setup.initramfs");
      staging.publish();
    }
    base::replace_file(key_path, made.digest);
    return made;
  });
}

}  // namespace image
