#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "vm/vm_record.h"

namespace vm {

// One file of a snapshot, as it was when the snapshot was published.
struct SnapshotFile {
  std::string name;
  std::uint64_t bytes = 0;
  std::string digest;  // storage::content_digest
  std::string stamp;   // storage::file_stamp; equal: nobody has touched it since
};

// A saved VM: snapshots/<tag>/, published whole by a rename. snapshot.json, this record, says what
// the other files are: the VM's device state, memory, disk, launch plan and exec base.
struct Snapshot {
  static constexpr int kSchema = 1;

  std::string tag;
  std::int64_t created_ns = 0;  // since the epoch
  std::string parent;           // the snapshot its VM was a clone of; empty: it was booted
  VmRecord vm;                  // the VM as it was
  // What has to be the same where it is restored (Hypervisor::snapshot_requirements).
  std::map<std::string, std::string> requirements;
  std::string kernel_digest;
  std::vector<std::string> devices;  // ids of the disks, in order
  std::uint64_t link_epoch = 1;      // of the guest link when it was saved
  std::int64_t pause_us = 0;         // how long the VM stood still
  std::string image_disk;            // path of the image's disk
  std::string image_disk_digest;     // of its superblock, which no two disks have in common
  std::vector<SnapshotFile> files;

  const SnapshotFile& file(std::string_view name) const;
};

// Names in the folder of a snapshot.
inline constexpr char kSnapshotRecordFile[] = "snapshot.json";
inline constexpr char kSnapshotStateFile[] = "vmstate.bin";
inline constexpr char kSnapshotMemoryFile[] = "memory.bin";
inline constexpr char kSnapshotDiskFile[] = "disk.raw";
inline constexpr char kSnapshotPlanFile[] = "launch.json";
inline constexpr char kSnapshotExecFile[] = "exec.json";

std::string to_json(const Snapshot& snapshot);
// Throws base::Error.
Snapshot parse_snapshot(std::string_view json);

// A tag is as a VM's name: [a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}. Throws base::Error for anything else.
void check_tag(std::string_view tag);

}  // namespace vm
