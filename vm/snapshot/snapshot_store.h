#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "vm/run_options.h"
#include "vm/snapshot/snapshot.h"
#include "vm/vm_manager.h"

namespace vm {

// A snapshot that nobody removes as long as this lives: a shared lock on its record.
struct OpenSnapshot {
  Snapshot snapshot;
  std::string directory;
  base::Fd lock;

  std::string path(std::string_view file) const { return directory + "/" + std::string(file); }
};

struct SnapshotSizes {
  std::uint64_t memory_bytes = 0;     // of the guest
  std::uint64_t shared_bytes = 0;     // on disk, which other files have a share in
  std::uint64_t exclusive_bytes = 0;  // on disk, which would be free without the snapshot
};

struct ListedSnapshot {
  Snapshot snapshot;
  SnapshotSizes sizes;
};

// What cannot be run, and has to be removed.
struct DamagedSnapshot {
  std::string tag;
  std::string reason;
};

struct SnapshotList {
  std::vector<ListedSnapshot> snapshots;  // the oldest first
  std::vector<DamagedSnapshot> damaged;   // by tag
};

struct CloneOptions {
  std::string name;  // empty: one is made up
  bool remove = false;
};

// Snapshots of a data directory. Blocks; throws base::Error.
class SnapshotStore {
 public:
  explicit SnapshotStore(VmManager& manager) : manager_(manager), data_(manager.store().data()) {}

  // Saves a VM that runs, which stands still meanwhile, and goes on. What fails leaves the VM
  // running and nothing behind.
  Snapshot create(const VmRecord& record, const std::string& tag);

  // What is removed meanwhile is left out.
  SnapshotList list() const;
  OpenSnapshot open(const std::string& tag) const;
  SnapshotSizes sizes(const Snapshot& snapshot) const;
  // VMs that run on its memory now.
  std::vector<VmRecord> clones(const std::string& tag) const;
  // Also what is damaged, or of another schema. Refused while somebody uses it.
  void remove(const std::string& tag) const;

  // Throws unless the snapshot is whole, unaltered, and of a machine that can be restored here. Reads
  // whole files only when somebody touched them since they were published.
  void verify(const OpenSnapshot& snapshot) const;
  // A VM that is to start where the snapshot was made, verified before: its record, its disk and its
  // plan. VmManager::start() starts it.
  VmRecord make_clone(const OpenSnapshot& snapshot, const CloneOptions& options);

 private:
  std::string directory(const std::string& tag) const { return data_.snapshots() + "/" + tag; }

  VmManager& manager_;
  storage::DataDirectory data_;
};

}  // namespace vm
