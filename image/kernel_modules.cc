#include "image/kernel_modules.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <sstream>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "image/detail/elf.h"

namespace image {
namespace {

constexpr std::size_t kMaxModuleBytes = 64U << 20;

// As modprobe sees names: "-" and "_" are one.
std::string normalized(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// "virtio_rng" for ".../virtio-rng.ko.xz"; empty for anything that is no module.
std::string module_name(const std::string& path) {
  const std::string file = path.substr(path.rfind('/') + 1);
  for (const char* suffix : {".ko", ".ko.gz", ".ko.xz", ".ko.zst"}) {
    if (file.ends_with(suffix)) {
      return normalized(file.substr(0, file.size() - std::char_traits<char>::length(suffix)));
    }
  }
  return {};
}

class Closure {
 public:
  explicit Closure(const std::string& directory) : directory_(directory) {
    namespace fs = std::filesystem;
    const fs::path kernel = directory + "/kernel";
    if (!fs::is_directory(kernel))
      throw base::Error(ENOENT, "finding kernel modules in", directory);
    for (const auto& entry : fs::recursive_directory_iterator(kernel)) {
      if (std::string name = module_name(entry.path()); !name.empty() && entry.is_regular_file()) {
        files_[name] = entry.path();
      }
    }
    std::istringstream builtin(
        base::try_read_file(directory + "/modules.builtin").value_or(std::string()));
    for (std::string line; std::getline(builtin, line);) builtin_.insert(module_name(line));
  }

  bool has(const std::string& name) const { return files_.contains(normalized(name)); }

  void add(const std::string& raw_name) {
    const std::string name = normalized(raw_name);
    if (builtin_.contains(name) || done_.contains(name)) return;
    const auto file = files_.find(name);
    if (file == files_.end()) {
      throw base::Error(base::cat("the kernel in ", base::quoted(directory_), " has no module ",
                                  base::quoted(raw_name), " and has not built it in"));
    }
    if (!open_.insert(name).second) {
      throw base::Error(
          base::cat("the kernel module ", base::quoted(raw_name), " depends on itself"));
    }
    for (const std::string& dependency : module_dependencies(read_module(file->second))) {
      add(dependency);
    }
    done_.insert(name);
    order_.push_back(file->second);
  }

  std::vector<std::string> take() { return std::move(order_); }

 private:
  std::string directory_;
  std::map<std::string, std::string> files_;
  std::set<std::string> builtin_;
  std::set<std::string> open_;
  std::set<std::string> done_;
  std::vector<std::string> order_;
};

}  // namespace

std::vector<std::string> module_dependencies(std::string_view module) {
  if (!detail::elf_header(module)) throw base::Error("a kernel module is no 64-bit ELF file");
  constexpr std::string_view kKey = "depends=";
  std::vector<std::string> names;
  std::string_view info = detail::elf_section(module, ".modinfo");
  while (!info.empty()) {
    const auto end = info.find('\0');
    const std::string_view entry = info.substr(0, end);
    info = end == std::string_view::npos ? std::string_view() : info.substr(end + 1);
    if (!entry.starts_with(kKey)) continue;
    std::istringstream list{std::string(entry.substr(kKey.size()))};
    for (std::string name; std::getline(list, name, ',');) {
      if (!name.empty()) names.push_back(name);
    }
  }
  return names;
}

std::string read_module(const std::string& path) {
  if (path.ends_with(".ko")) return base::read_file(path, kMaxModuleBytes);
  base::SpawnOptions spawn;
  spawn.argv = {path.ends_with(".gz")   ? "gzip"
                : path.ends_with(".xz") ? "xz"
                                        : "zstd",
                "-dc", path};
  base::CommandOptions options;
  options.max_output_bytes = kMaxModuleBytes;
  return base::run_command_checked(std::move(spawn), options).out;
}

std::vector<std::string> module_closure(const std::string& directory,
                                        const std::vector<std::string>& names,
                                        const std::vector<std::string>& optional) {
  Closure closure(directory);
  for (const std::string& name : names) closure.add(name);
  for (const std::string& name : optional) {
    if (closure.has(name)) closure.add(name);
  }
  return closure.take();
}

}  // namespace image
