#pragma once

#include <string>
#include <vector>

#include "wire/boot_plan.h"

namespace fc_agent {

// All throw base::Error; its text names the mount.

// /dev, /proc and /sys of the initramfs.
void mount_initramfs();

// What every root needs, below `root` ("/newroot"): proc, sys, dev, devpts, shm, mqueue, cgroup2
// with its controllers handed down, /run and /tmp as tmpfs, the links /dev/fd, stdin, stdout, stderr.
void mount_system(const std::string& root);

// Makes `root` the root of this process (all its threads) and of everything it starts: the mounts of
// the initramfs go, `root` is moved over "/" and becomes shared for mount propagation. The initramfs
// itself stays underneath; nothing in it is deleted, for the running root must never be.
void switch_root(const std::string& root);

void mount_plan_disk(const wire::PlanDisk& disk, const std::string& device_path);
void mount_overlay(const wire::PlanOverlay& overlay);

// The lowerdir=…,upperdir=…,workdir=… of overlayfs with the characters it treats specially escaped.
std::string overlay_options(const wire::PlanOverlay& overlay);

}  // namespace fc_agent
