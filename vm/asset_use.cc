#include "vm/asset_use.h"

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "image/prune.h"
#include "vm/launch_plan.h"
#include "vm/snapshot/snapshot.h"

namespace vm {

std::optional<std::set<std::string>> assets_in_use(const storage::DataDirectory& data) {
  std::set<std::string> paths;
  for (const auto& [folder, plan_file] : {std::pair(data.vm_disks(), kLaunchPlanFile),
                                          std::pair(data.snapshots(), kSnapshotPlanFile)}) {
    for (const std::string& name : base::list_directory(folder)) {
      const std::string file = folder + "/" + name + "/" + plan_file;
      try {
        // One that is half made, or has been removed meanwhile, has none.
        const auto text = base::try_read_file(file);
        if (!text) continue;
        const LaunchPlan plan = parse_launch_plan(*text);
        paths.insert(plan.kernel);
        paths.insert(plan.initramfs);
      } catch (const base::Error& error) {
        base::log_info(base::cat("old kernels and initramfs files stay: ", error.what()));
        return std::nullopt;
      }
    }
  }
  return paths;
}

void prune_assets(const storage::DataDirectory& data, const std::set<std::string>& current) {
  const int removed = image::prune_assets(data, current, [&] { return assets_in_use(data); });
  if (removed != 0) base::log_info(base::cat("removed ", removed, " old assets"));
}

}  // namespace vm
