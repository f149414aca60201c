// What Podman in a guest needs beside its packages: which of their dependencies it does without, and
// its configuration.
#pragma once

#include <array>
#include <string>

namespace image {

// Where a guest mounts the image disk. The disk is a containers-storage directory, which Podman reads
// as an additional image store: nothing is imported.
inline constexpr char kGuestImageStore[] = "/run/fcvm/image";

// Dependencies of Podman's packages for what it does not do in a guest: networks of its own,
// signatures of images, device mapper, and the tools of packages that are never installed.
inline constexpr std::array kNotInGuest{
    "containernetworking-plugins", "debconf", "dmsetup", "gnupg", "libsemanage-common", "netavark"};

// Writes /etc/containers below `root`, instead of what packages brought.
void configure_guest_podman(const std::string& root);

}  // namespace image
