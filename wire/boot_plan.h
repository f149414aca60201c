#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace wire {

// What the agent does after it has reached the host, sent once as the first message of service
// kBootService. The host writes it, the agent checks it all the same.
struct PlanFile {
  std::string path;  // absolute, in the guest's root (not the container's)
  std::string content;
  std::uint32_t mode = 0644;
};

struct PlanDisk {
  std::string serial;  // virtio-blk serial (VIRTIO_BLK_T_GET_ID), at most 20 bytes
  std::string mount_point;
  std::string fs_type = "ext4";
  bool read_only = false;
};

struct PlanOverlay {
  std::vector<std::string> lower;  // absolute guest paths, topmost first
  std::string upper;
  std::string work;
  std::string target;
};

struct PlanContainer {
  std::string id;
  std::string bundle;         // folder in the guest that gets config.json
  std::string config_json;    // OCI runtime configuration
  PlanOverlay root;
};

struct BootPlan {
  static constexpr std::uint32_t kVersion = 1;

  std::string host_name;                 // of the guest itself
  std::int64_t wall_clock_ns = 0;        // since the epoch, when the plan was sent
  std::string entropy;                   // random bytes for the guest's pool, credited
  std::string machine_id;                // 32 hexadecimal digits
  std::string root_serial = "root";      // the disk that becomes "/"
  std::uint64_t grow_root_to_bytes = 0;  // resize the root file system up to this; 0: leave it
  std::vector<std::string> modules;      // loaded after the root is up, by name, in order
  std::vector<PlanDisk> disks;           // mounted after the root, in order
  std::vector<PlanFile> files;           // written after the disks are mounted
  PlanContainer container;
  std::string log_level = "warn";
};

std::string to_json(const BootPlan& plan);
// Throws base::Error for anything malformed, missing, oversized or of another version.
BootPlan parse_boot_plan(std::string_view json);

// Agent to host on the same stream.
struct BootEvent {
  enum class Kind { kProgress, kReady, kFailed };
  Kind kind = Kind::kProgress;
  std::string step;                   // kProgress: what has just been finished; kFailed: what failed
  std::int64_t since_start_us = 0;    // guest CLOCK_MONOTONIC
  std::string message;                // kFailed: why
};
std::string to_json(const BootEvent& event);
BootEvent parse_boot_event(std::string_view json);

}  // namespace wire
