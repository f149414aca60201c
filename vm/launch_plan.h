#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "vm/health_check.h"
#include "wire/boot_plan.h"

namespace vm {

struct LaunchDisk {
  std::string id;  // virtio-blk serial
  std::string path;
  bool read_only = false;
};

// Where the first life of a clone begins.
struct RestorePlan {
  std::string directory;         // of the snapshot
  std::uint64_t link_epoch = 0;  // of the clone's guest link
  // Of the files that are loaded, by name, as they were when they were verified
  // (storage::file_stamp).
  std::map<std::string, std::string> stamps;
};

// In the folder of a VM's disks.
inline constexpr char kLaunchPlanFile[] = "launch.json";

// All a monitor needs to start a VM, written once by the command that creates it, next to the VM's
// disk. Restarting the VM reads it again.
struct LaunchPlan {
  static constexpr int kVersion = 1;

  std::string hypervisor = "qemu";
  std::string accel = "auto";
  std::string kernel;
  std::string initramfs;
  std::string kernel_args;
  std::string cpuset_cpus;
  unsigned cpus = 1;
  std::uint64_t mem_mib = 0;
  std::uint64_t balloon_mib = 0;  // memory the guest is asked to get along with; 0: all
  std::vector<LaunchDisk> disks;
  HealthCheck health;
  std::optional<RestorePlan> restore{};
  wire::BootPlan boot;  // its clock and entropy are filled in when it is sent
};

std::string to_json(const LaunchPlan& plan);
// Throws base::Error.
LaunchPlan parse_launch_plan(std::string_view json);

}  // namespace vm
