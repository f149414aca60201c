#include "fc-agent/modules.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>

#include "base/error.h"
#include "base/log.h"
#include "fc-agent/module_file.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxModules = 256;

// A whole file; what is changed in it stays in this mapping.
class Mapping {
 public:
  Mapping(const base::Fd& fd, const std::string& name) {
    struct stat info {};
    if (::fstat(fd.get(), &info) != 0) base::throw_errno("examining module", name);
    size_ = static_cast<std::size_t>(info.st_size);
    // SAFETY: a private view of a file of the initramfs, which nobody changes.
    address_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get(), 0);
    if (address_ == MAP_FAILED) base::throw_errno("reading module", name);
  }
  ~Mapping() { ::munmap(address_, size_); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  std::span<char> bytes() { return {static_cast<char*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace

ModuleStage stage_of(std::string_view name) {
  static constexpr std::array<std::string_view, 1> kLinkModules{"virtio_console"};
  static constexpr std::array<std::string_view, 1> kRootModules{"virtio_blk"};
  static constexpr std::array<std::string_view, 1> kContainerModules{"overlay"};
  static constexpr std::array<std::string_view, 2> kLateModules{"virtio_balloon", "virtio_rng"};
  const auto has = [name](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has(kLinkModules)) return ModuleStage::kLink;
  if (has(kRootModules)) return ModuleStage::kRoot;
  if (has(kContainerModules)) return ModuleStage::kContainer;
  if (has(kLateModules)) return ModuleStage::kLate;
  return ModuleStage::kBase;
}

std::string module_name(std::string_view file_or_name) {
  file_or_name.remove_prefix(std::min(file_or_name.rfind('/') + 1, file_or_name.size()));
  if (file_or_name.ends_with(".ko")) file_or_name.remove_suffix(3);
  std::string name(file_or_name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::vector<std::string> parse_module_order(std::string_view text) {
  std::vector<std::string> paths;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    if (line.front() != '/' || !line.ends_with(".ko")) {
      throw base::Error(base::cat("module order: ", base::quoted(line), " is no path of a module"));
    }
    if (paths.size() == kMaxModules) throw base::Error("module order: too many modules");
    paths.emplace_back(line);
  }
  return paths;
}

Modules::Modules(const std::string& directory)
    : directory_(base::try_open_file(directory, O_PATH | O_DIRECTORY)) {
  if (!directory_) return;
  const base::Fd order = base::open_file_at(directory_, "order", O_RDONLY);
  for (const auto& path : parse_module_order(base::read_to_end(order, 64 * 1024))) {
    if (path.substr(0, path.rfind('/')) != directory) {
      throw base::Error(base::cat("module order: ", base::quoted(path), " is not in ", directory));
    }
    files_.push_back(path.substr(path.rfind('/') + 1));
  }
}

void Modules::load_stage(ModuleStage stage) const {
  for (const auto& file : files_) {
    if (stage_of(module_name(file)) != stage) continue;
    try {
      load_file(file);
    } catch (const base::Error& error) {
      base::log_error(error.what());
    }
  }
}

void Modules::load(std::string_view name) const {
  const std::string wanted = module_name(name);
  const auto file = std::find_if(files_.begin(), files_.end(), [&](const std::string& candidate) {
    return module_name(candidate) == wanted;
  });
  if (file == files_.end()) throw base::Error(ENOENT, "loading module", wanted);
  load_file(*file);
}

void Modules::load_file(const std::string& file) const {
  const base::Fd fd = base::open_file_at(directory_, file, O_RDONLY);
  Mapping module(fd, file);
  leave_out_unwind_tables(module.bytes());
  // The host gave us the modules together with the kernel that would check their signatures, so a
  // check proves nothing, and it is most of what loading a module costs.
  const std::string_view text(module.bytes().data(), module.bytes().size());
  if (::syscall(SYS_init_module, text.data(), unsigned_size(text), "") == 0 || errno == EEXIST) {
    return;
  }
  // A kernel that insists on signatures says so.
  if (errno != EKEYREJECTED && errno != EPERM) base::throw_errno("loading module", file);
  if (::syscall(SYS_finit_module, fd.get(), "", 0) != 0 && errno != EEXIST) {
    base::throw_errno("loading module", file);
  }
}

}  // namespace fc_agent
