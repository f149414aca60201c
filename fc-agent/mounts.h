#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "wire/boot_plan.h"

namespace fc_agent {

// All throw base::Error; its text names the mount.

// The mounts every root needs are made in the initramfs, while the disks are still being looked for,
// and move into the root with the switch.
//
// /dev, /proc and /sys: what reaching the host needs.
void mount_initramfs();
// The rest: devpts, shm, mqueue, cgroup2 with its controllers handed down, /run and /tmp as tmpfs, the
// links /dev/fd, stdin, stdout, stderr. Any thread, once, after mount_initramfs().
void mount_system();

// Makes `root` ("/newroot") the root of this process (all its threads) and of everything it starts:
// the system's mounts and then `root` itself are moved, and it becomes shared for mount propagation.
// The initramfs stays underneath; nothing in it is deleted, for the running root must never be.
void switch_root(const std::string& root);

// Whether `path` lies on one of the system's mounts, which can be used before the switch.
bool moves_with_the_system(std::string_view path);

void mount_plan_disk(const wire::PlanDisk& disk, const std::string& device_path);
void mount_overlay(const wire::PlanOverlay& overlay);

// The lowerdir=…,upperdir=…,workdir=… of overlayfs with the characters it treats specially escaped.
std::string overlay_options(const wire::PlanOverlay& overlay);

}  // namespace fc_agent
