#include "fc-agent/modules.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/error.h"
#include "base/log.h"

namespace fc_agent {
namespace {

constexpr std::size_t kMaxModules = 256;

}  // namespace

ModuleStage stage_of(std::string_view name) {
  static constexpr std::array<std::string_view, 1> kLinkModules{"virtio_console"};
  static constexpr std::array<std::string_view, 2> kRootModules{"virtio_blk", "overlay"};
  static constexpr std::array<std::string_view, 2> kLateModules{"virtio_balloon", "virtio_rng"};
  const auto has = [name](const auto& names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has(kLinkModules)) return ModuleStage::kLink;
  if (has(kRootModules)) return ModuleStage::kRoot;
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
  if (::syscall(SYS_finit_module, fd.get(), "", 0) != 0 && errno != EEXIST) {
    base::throw_errno("loading module", file);
  }
}

}  // namespace fc_agent
