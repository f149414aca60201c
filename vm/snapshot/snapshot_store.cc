// What is there, what of it is whole, and its removal.
#include "vm/snapshot/snapshot_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/log.h"
#include "hypervisor/hypervisor.h"
#include "storage/reflink.h"
#include "storage/sparse_copy.h"
#include "storage/staging.h"
#include "vm/snapshot/image_disk.h"

namespace vm {
namespace {

constexpr std::chrono::seconds kReleaseTimeout{2};
constexpr std::chrono::milliseconds kReleasePoll{20};

base::Error no_such_snapshot(const std::string& tag) {
  return base::Error(base::cat("no snapshot ", base::quoted(tag)))
      .set_hint("fcvm snapshot ls lists all snapshots");
}

Snapshot read_snapshot(const std::string& directory, const std::string& tag) {
  return base::with_context(base::cat("snapshot ", base::quoted(tag)), [&] {
    Snapshot snapshot = parse_snapshot(base::read_file(directory + "/" + kSnapshotRecordFile));
    if (snapshot.tag != tag)
      throw base::Error(base::cat("it is of tag ", base::quoted(snapshot.tag)));
    return snapshot;
  });
}

bool is_file_at(const base::Fd& fd, const std::string& path) {
  struct stat by_fd {};
  struct stat by_path {};
  return ::fstat(fd.get(), &by_fd) == 0 && ::lstat(path.c_str(), &by_path) == 0 &&
         by_fd.st_dev == by_path.st_dev && by_fd.st_ino == by_path.st_ino;
}

void verify_file(const OpenSnapshot& snapshot, const SnapshotFile& expected) {
  const std::string path = snapshot.path(expected.name);
  const base::Fd file = base::try_open_file(path, O_RDONLY);
  if (!file) base::throw_errno("opening", path);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) base::throw_errno("examining", path);
  const auto bytes = static_cast<std::uint64_t>(info.st_size);
  if (bytes != expected.bytes) {
    throw base::Error(base::cat("its file ", base::quoted(expected.name), " has ", bytes,
                                " bytes instead of ", expected.bytes));
  }
  if (storage::file_stamp(file) == expected.stamp) return;
  // Touched, or copied here: what it holds decides.
  if (storage::content_digest(file) != expected.digest) {
    throw base::Error(base::cat("its file ", base::quoted(expected.name), " was altered"));
  }
}

void verify_requirements(const Snapshot& snapshot) {
  const auto hypervisor = hypervisor::make_hypervisor(snapshot.vm.hypervisor);
  const hypervisor::Capabilities can = hypervisor->probe();
  if (!can.usable) throw base::Error(can.why_not).set_hint(can.hint);
  if (!can.snapshots) throw base::Error(can.snapshots_why_not);
  const auto accel = snapshot.vm.accel == "kvm" ? hypervisor::Accel::kKvm : hypervisor::Accel::kTcg;
  const auto here = hypervisor->snapshot_requirements(accel);
  for (const auto& [name, value] : snapshot.requirements) {
    const auto found = here.find(name);
    if (found != here.end() && found->second == value) continue;
    throw base::Error(base::cat("it was made with another ", name, ": ", base::quoted(value),
                                ", here it is ",
                                base::quoted(found == here.end() ? "" : found->second)))
        .set_hint("boot the VM here and make the snapshot anew");
  }
}

}  // namespace

SnapshotList SnapshotStore::list() const {
  SnapshotList list;
  if (!base::is_directory(data_.snapshots())) return list;
  for (const auto& tag : base::list_directory(data_.snapshots())) {
    if (tag.starts_with('.') || !base::is_directory(directory(tag))) continue;
    try {
      ListedSnapshot listed{read_snapshot(directory(tag), tag), {}};
      listed.sizes = sizes(listed.snapshot);
      list.snapshots.push_back(std::move(listed));
    } catch (const base::Error& error) {
      // Renamed away in one step by whoever removes it.
      if (base::is_directory(directory(tag))) list.damaged.push_back({tag, error.what()});
    }
  }
  std::stable_sort(list.snapshots.begin(), list.snapshots.end(),
                   [](const ListedSnapshot& a, const ListedSnapshot& b) {
                     return a.snapshot.created_ns < b.snapshot.created_ns;
                   });
  return list;
}

OpenSnapshot SnapshotStore::open(const std::string& tag) const {
  check_tag(tag);
  OpenSnapshot open;
  open.directory = directory(tag);
  open.lock = base::try_open_file(open.path(kSnapshotRecordFile), O_RDONLY);
  if (!open.lock) {
    if (errno == ENOENT && !base::is_directory(open.directory)) throw no_such_snapshot(tag);
    throw base::Error(errno, "opening the record of snapshot", tag);
  }
  // Exclusive is only who removes it.
  if (::flock(open.lock.get(), LOCK_SH | LOCK_NB) != 0) throw no_such_snapshot(tag);
  open.snapshot = read_snapshot(open.directory, tag);
  return open;
}

SnapshotSizes SnapshotStore::sizes(const Snapshot& snapshot) const {
  SnapshotSizes sizes;
  sizes.memory_bytes = snapshot.vm.mem_mib << 20;
  for (const auto& file : snapshot.files) {
    const storage::SharedBytes bytes =
        storage::shared_bytes(directory(snapshot.tag) + "/" + file.name);
    sizes.shared_bytes += bytes.shared;
    sizes.exclusive_bytes += bytes.exclusive;
  }
  return sizes;
}

std::vector<VmRecord> SnapshotStore::clones(const std::string& tag) const {
  std::vector<VmRecord> clones = manager_.list();
  std::erase_if(clones, [&](const VmRecord& vm) {
    return vm.snapshot != tag || !vm.has_monitor() || !vm.runs_on_snapshot;
  });
  return clones;
}

void SnapshotStore::remove(const std::string& tag) const {
  check_tag(tag);
  const std::string folder = directory(tag);
  if (!base::is_directory(folder)) throw no_such_snapshot(tag);
  const std::string record = folder + "/" + kSnapshotRecordFile;
  // What the record says does not matter, only who holds it.
  const base::Fd lock = base::try_open_file(record, O_RDONLY | O_NONBLOCK);
  if (!lock && errno != ENOENT) throw base::Error(errno, "opening the record of snapshot", tag);
  const auto held = [&] {
    if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return false;
    if (errno != EWOULDBLOCK) base::throw_errno("locking snapshot", tag);
    return true;
  };
  // Without a record there is nothing to hold: then the clones themselves count.
  std::vector<VmRecord> users = clones(tag);
  // The monitor of a clone that was just removed lets go as it ends, a moment later.
  const auto deadline = std::chrono::steady_clock::now() + kReleaseTimeout;
  bool in_use = held();
  while (in_use && users.empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kReleasePoll);
    in_use = held();
    users = clones(tag);
  }
  if (in_use || !users.empty()) {
    std::string names;
    for (const auto& vm : users) names += base::cat(names.empty() ? "" : ", ", vm.name);
    throw base::Error(
        base::cat("snapshot ", base::quoted(tag), " is in use", names.empty() ? "" : " by ", names))
        .set_hint("stop the clones first");
  }
  // Another one may have been removed, and made anew, since the record was opened.
  if (lock && !is_file_at(lock, record)) throw no_such_snapshot(tag);
  storage::discard_directory(folder);
}

void SnapshotStore::verify(const OpenSnapshot& open) const {
  const Snapshot& snapshot = open.snapshot;
  base::with_context(base::cat("snapshot ", base::quoted(snapshot.tag)), [&] {
    verify_requirements(snapshot);
    for (const char* name : {kSnapshotStateFile, kSnapshotMemoryFile, kSnapshotDiskFile,
                             kSnapshotPlanFile, kSnapshotExecFile}) {
      verify_file(open, snapshot.file(name));
    }
    if (image_disk_digest(snapshot.image_disk) != snapshot.image_disk_digest) {
      throw base::Error("the disk of its image is another one now")
          .set_hint("it was removed and made again; make the snapshot anew");
    }
  });
}

}  // namespace vm
