#pragma once

#include <cstdint>
#include <map>
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

// A change to the container's root, made in order after the overlay is mounted and before crun
// starts. Paths are the container's; the image may have made any part of them a symbolic link, so
// they are resolved inside its root (openat2(2), RESOLVE_IN_ROOT).
struct PlanRootEdit {
  enum class Kind {
    kMakeDirectory,     // with parents (0755, root); only a directory it makes gets mode and owner
    kRequireDirectory,  // kFailed when it is missing or no directory, with `text` as the message
    kAppend,            // `text` to a file, made when missing (0644, root)
    kSymlink,           // to `text`, unless something is there
    kBind,              // make the directory as above, then bind-mount it at the guest path `text`
                        // (made when missing), a name for it that no link of the image can bend
  };
  Kind kind = Kind::kMakeDirectory;
  std::string path;
  std::string text;
  std::uint32_t mode = 0755;
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
};

// Run by crun from a bundle with an overlay as its root, or by the guest's Podman, which makes both
// itself: then `podman` is not empty, and nothing else but the id is used.
struct PlanContainer {
  std::string id;
  std::vector<std::string> podman;  // arguments of podman(1) that make and start the container
  std::string bundle;               // folder in the guest that gets config.json
  std::string config_json;          // OCI runtime configuration
  PlanOverlay root;
  std::vector<PlanRootEdit> root_edits;
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
  std::map<std::string, std::string> sysctls;  // "net.ipv4.ping_group_range" to its value
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
  std::string step;                 // kProgress: what has just been finished; kFailed: what failed
  std::int64_t since_start_us = 0;  // guest CLOCK_MONOTONIC
  std::string message;              // kFailed: why
};
std::string to_json(const BootEvent& event);
BootEvent parse_boot_event(std::string_view json);

}  // namespace wire
