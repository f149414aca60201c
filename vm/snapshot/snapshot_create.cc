// Making a snapshot of a VM that runs. The monitor writes the VM's state, memory and disk while the
// VM stands still; everything that can wait happens here, when it runs again.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/digest.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "hypervisor/hypervisor.h"
#include "image/kernel.h"
#include "storage/sparse_copy.h"
#include "storage/staging.h"
#include "vm/clock.h"
#include "vm/launch_plan.h"
#include "vm/monitor_client.h"
#include "vm/snapshot/image_disk.h"
#include "vm/snapshot/snapshot_store.h"

namespace vm {
namespace {

// None: the monitor limits each of its steps but the copy, which takes what the memory's size takes.
constexpr std::chrono::milliseconds kSaveLimit{-1};
constexpr std::size_t kHeadBytes = 64 * 1024;

base::Error taken(const std::string& tag) {
  return base::Error(base::cat("there is a snapshot ", base::quoted(tag), " already"))
      .set_hint("remove it (fcvm snapshot rm), or choose another tag");
}

SnapshotFile describe(const std::string& directory, const std::string& name) {
  const base::Fd file = base::open_file(directory + "/" + name, O_RDONLY);
  // What is not written out yet would get another time of change by that.
  if (::fsync(file.get()) != 0) base::throw_errno("writing out", name);
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) base::throw_errno("examining", name);
  return {name, static_cast<std::uint64_t>(info.st_size), storage::content_digest(file),
          storage::file_stamp(file)};
}

}  // namespace

std::string image_disk_digest(const std::string& path) {
  const base::Fd file = base::open_file(path, O_RDONLY);
  std::string head(kHeadBytes, '\0');
  const ssize_t n = ::pread(file.get(), head.data(), head.size(), 0);
  if (n < 0) base::throw_errno("reading", path);
  head.resize(static_cast<std::size_t>(n));
  return base::sha256(head);
}

Snapshot SnapshotStore::create(const VmRecord& record, const std::string& tag) {
  check_tag(tag);
  if (base::path_exists(directory(tag))) throw taken(tag);
  const VmPaths paths = manager_.store().paths(record.id);
  base::Fd monitor = manager_.connect(record);
  const LaunchPlan plan = parse_launch_plan(base::read_file(paths.launch_plan));

  Snapshot snapshot;
  snapshot.tag = tag;
  snapshot.parent = record.runs_on_snapshot ? record.snapshot : "";
  snapshot.vm = record;
  const auto accel = plan.accel == "kvm" ? hypervisor::Accel::kKvm : hypervisor::Accel::kTcg;
  snapshot.requirements =
      hypervisor::make_hypervisor(plan.hypervisor)->snapshot_requirements(accel);
  snapshot.kernel_digest = base::sha256_file(plan.kernel);
  for (const auto& disk : plan.disks) {
    snapshot.devices.push_back(disk.id);
    if (disk.id == "image") snapshot.image_disk = disk.path;
  }
  snapshot.image_disk_digest = image_disk_digest(snapshot.image_disk);

  storage::StagingDirectory staging(data_.snapshots(), tag);
  base::write_file(staging / kSnapshotPlanFile, base::read_file(paths.launch_plan));
  base::write_file(staging / kSnapshotExecFile, base::read_file(paths.exec_base));
  base::fault_point("snapshot.staged");

  MonitorRequest request;
  request.op = MonitorRequest::Op::kSave;
  request.directory = staging.path();
  const MonitorReply reply = ask_monitor(std::move(monitor), request, kSaveLimit);
  if (!reply.ok) throw base::Error(reply.error);
  base::fault_point("snapshot.saved");
  snapshot.created_ns = wall_clock_ns();
  snapshot.link_epoch = reply.link_epoch;
  const auto pause = reply.timings_us.find("pause");
  snapshot.pause_us = pause == reply.timings_us.end() ? 0 : pause->second;

  for (const char* name : {kSnapshotStateFile, kSnapshotMemoryFile, kSnapshotDiskFile,
                           kSnapshotPlanFile, kSnapshotExecFile}) {
    snapshot.files.push_back(describe(staging.path(), name));
  }
  base::write_file(staging / kSnapshotRecordFile, to_json(snapshot));
  base::fault_point("snapshot.described");
  if (!staging.publish()) throw taken(tag);
  base::fault_point("snapshot.published");
  return snapshot;
}

}  // namespace vm
