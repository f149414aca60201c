#include "vm/image_use.h"

#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "vm/snapshot/snapshot.h"

namespace vm {
namespace {

bool snapshot_needs(const std::string& directory, const std::string& digest) {
  const auto record = base::try_read_file(directory + "/" + kSnapshotRecordFile);
  if (record) {
    try {
      return parse_snapshot(*record).vm.image_digest == digest;
    } catch (const base::Error&) {
      // Damaged, or of another schema: whoever can read that may still want to run it.
    }
  }
  const std::string hex = digest.substr(digest.find(':') + 1);
  const auto plan = base::try_read_file(directory + "/" + kSnapshotPlanFile);
  const auto speaks_of_it = [&](const std::optional<std::string>& text) {
    return text && text->find(hex) != std::string::npos;
  };
  return speaks_of_it(record) || speaks_of_it(plan);
}

}  // namespace

ImageUsers image_users(const VmStore& store, const std::string& digest) {
  ImageUsers users;
  // VMs first: one that is saved and removed meanwhile is found as its snapshot at least.
  std::vector<state::Problem> problems;
  users.vms = store.list(problems);
  std::erase_if(users.vms, [&](const VmRecord& vm) {
    return vm.image_digest != digest || vm.status == VmStatus::kRemoving;
  });
  const std::string snapshots = store.data().snapshots();
  if (!base::is_directory(snapshots)) return users;
  for (const std::string& tag : base::list_directory(snapshots)) {
    const std::string directory = snapshots + "/" + tag;
    if (tag.starts_with('.') || !base::is_directory(directory)) continue;
    if (snapshot_needs(directory, digest)) users.snapshots.push_back(tag);
  }
  return users;
}

}  // namespace vm
