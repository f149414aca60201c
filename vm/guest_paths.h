// Where things of the container lie in the guest (not in the container): agreed between the bundle
// and the boot plan the agent follows. All below a tmpfs, so that nothing of them outlives a boot.
#pragma once

#include <string_view>

namespace vm {

inline constexpr std::string_view kGuestBundleDirectory = "/run/fcvm/bundle";
inline constexpr std::string_view kGuestRootfs = "/run/fcvm/rootfs";  // the mounted overlay
inline constexpr std::string_view kGuestFilesDirectory = "/run/fcvm/files";
inline constexpr std::string_view kGuestHostsFile = "/run/fcvm/files/hosts";
inline constexpr std::string_view kGuestHostnameFile = "/run/fcvm/files/hostname";
inline constexpr std::string_view kGuestResolvConfFile = "/run/fcvm/files/resolv.conf";
inline constexpr std::string_view kGuestContainerenvFile = "/run/fcvm/files/containerenv";
// Binds of the image's VOLUME directories: <here>/0, <here>/1 …
inline constexpr std::string_view kGuestVolumesDirectory = "/run/fcvm/volumes";
// File systems of --disk: <here>/0, <here>/1 …
inline constexpr std::string_view kGuestDisksDirectory = "/run/fcvm/disks";
// cgroup v2 group of the container, below the root of the hierarchy.
inline constexpr std::string_view kGuestContainerCgroup = "/fcvm/container";
// catatonit(1) of the base root file system, for --init.
inline constexpr std::string_view kGuestInitProgram = "/usr/libexec/podman/catatonit";

}  // namespace vm
