// The checks, by what they look at. Each takes milliseconds and throws nothing for what it finds.
#pragma once

#include <string>
#include <vector>

#include "vm/doctor/doctor.h"

namespace vm {

Check ok(std::string name, std::string found);
Check degraded(std::string name, std::string found, std::string cost, std::string fix);
Check missing(std::string name, std::string found, std::string cost, std::string fix);
// Missing, and no container runs without it.
Check prevented(std::string name, std::string found, std::string cost, std::string fix);

// A helper program on the PATH, its version asked for: `found` is "PATH (first line it prints)", or
// why there is none.
struct Program {
  std::string path;  // empty: missing, or it does not start
  std::string found;
};
Program look_for_program(const std::string& name, const std::string& version_flag);

// CPU, kvm, tcg, Firecracker, and the programs that belong to fcvm.
std::vector<Check> machine_checks();
// skopeo, mke2fs, podman, user ids.
std::vector<Check> image_checks();
// reflink, kernel, base.
std::vector<Check> data_checks(const std::string& data_dir);
// What the host has for features of later versions: userfaultfd, tun, nftables, slirp4netns, pasta,
// FUSE, Docker.
std::vector<Check> unused_checks();

}  // namespace vm
