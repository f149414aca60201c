#include "image/setup.h"

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "vm/asset_use.h"
#include "vm/flag_parsers.h"

namespace cli {
namespace {

const char* describe(storage::DataDirectoryKind kind) {
  switch (kind) {
    case storage::DataDirectoryKind::kReflink:
      return "as it is, with reflinks";
    case storage::DataDirectoryKind::kLoopFile:
      return "btrfs in a loop file";
    case storage::DataDirectoryKind::kPlain:
      return "as it is, without reflinks";
  }
  return "";
}

}  // namespace

int setup(Invocation& invocation) {
  image::SetupOptions setup;
  Options options;
  options.value("size", "SIZE", "Of the loop file, where one has to be made; sparse; default 60g",
                [&](const std::string& text) { setup.loop_file_bytes = vm::parse_size(text); });
  options.value("kernel", "FILE",
                "A vmlinux, bzImage or kernel package instead of the distribution's cloud kernel",
                setup.kernel_file);
  options.list("base-packages", "LIST", "Further packages for the base root file system",
               [&](const std::string& text) {
                 for (auto& name : vm::split_commas(text)) {
                   setup.base_packages.push_back(std::move(name));
                 }
               });
  options.flag("force", setup.force, "Look for newer packages and make everything again");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }

  const InterruptGuard interrupt;
  setup.cancellation = &interrupt.cancellation();
  const storage::DataDirectory data(invocation.settings.data_dir);
  image::SetupResult result;
  {
    ProgressDisplay progress(std::chrono::milliseconds(500));
    setup.progress = progress.callback();
    result = image::run_setup(data, setup);
    vm::prune_assets(data, {result.kernel.path, result.initramfs.path});
  }
  print(render_table({
      {"data directory", base::cat(data.root(), " (", describe(result.kind), ")")},
      {"kernel", result.kernel.release.empty() ? result.kernel.path : result.kernel.release},
      {"initramfs", result.initramfs.path},
      {"base", result.base.path},
  }));
  return 0;
}

}  // namespace cli
