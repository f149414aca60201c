#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace fc_agent {

// When a module is needed. Modules this table does not know go first: they may be what others need.
enum class ModuleStage {
  kBase,       // buses: before everything else
  kLink,       // reaching the host
  kRoot,       // disks
  kContainer,  // file systems the container needs and the root does not
  kLate,       // nothing waits for them: after the container has started
};
ModuleStage stage_of(std::string_view module_name);

// "virtio-rng" and "/modules/virtio_rng.ko" are both "virtio_rng", as the kernel has it.
std::string module_name(std::string_view file_or_name);

// Paths of modules from the text of the initramfs's order file: absolute, one a line, in an order in
// which each finds what it depends on. Throws base::Error for anything else.
std::vector<std::string> parse_module_order(std::string_view text);

// The modules of the initramfs. They stay reachable after the root has been switched. Any thread
// may load; loads of one stage must follow each other.
class Modules {
 public:
  // `directory` holds the files and "order"; a missing folder means that the kernel has all of it.
  explicit Modules(const std::string& directory);

  // Loads all of a stage in order. A module that is there already is fine. One that fails is logged
  // and skipped: whether it was needed shows when its device is looked for.
  void load_stage(ModuleStage stage) const;
  // One by name, for the boot plan. Throws base::Error.
  void load(std::string_view name) const;

 private:
  void load_file(const std::string& file) const;

  base::Fd directory_;
  std::vector<std::string> files_;  // names in directory_, in load order
};

}  // namespace fc_agent
