#include "tests/support/requirements.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/fault_point.h"
#include "tests/support/paths.h"

namespace tests {
namespace {

namespace fs = std::filesystem;

bool has_program(const std::string& name) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/usr/sbin:/usr/bin:/sbin:/bin" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    if (!folder.empty() && ::access((fs::path(folder) / name).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

bool has_capability(unsigned number) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {};
  if (::syscall(SYS_capget, &header, data) != 0) {
    return false;
  }
  return (data[number / 32].effective & (1U << (number % 32))) != 0;
}

std::string missing_for_root() {
  if (::geteuid() != 0) {
    return "the effective user is not root";
  }
  if (!has_capability(CAP_SYS_ADMIN)) {
    return "root has no CAP_SYS_ADMIN here";
  }
  if (!fs::exists("/dev/loop-control")) {
    return "/dev/loop-control is missing";
  }
  return {};
}

std::string missing_for_vm() {
  if (!has_program("qemu-system-x86_64")) {
    return "qemu-system-x86_64 is not in PATH: install qemu-system-x86";
  }
  for (const char* program : {"fcvm", "fcvm-monitor", "fc-agent"}) {
    if (!fs::exists(bin_dir() / program)) {
      return "program '" + (bin_dir() / program).string() + "' is missing: build everything";
    }
  }
  for (const char* asset : {"kernels/vmlinux.bin", "initramfs", "rootfs/base.ext4"}) {
    if (!fs::exists(data_dir() / asset)) {
      return "asset '" + (data_dir() / asset).string() +
             "' is missing: run fcvm setup --data-dir " + data_dir().string();
    }
  }
  return {};
}

std::string missing_for_podman() {
  const std::string program = missing_program({"podman", "crun"});
  return program.empty() ? missing_for_root() : program;
}

std::string missing_for_docker() {
  if (!has_program("dockerd")) {
    return "dockerd is not in PATH: install docker.io";
  }
  return missing_for_root();
}

std::string_view require_tests_name(Label label) {
  switch (label) {
    case Label::root:
    case Label::user_ids:
      return "root";
    case Label::vm:
    case Label::podman:
    case Label::registry:
      return "vm";
    case Label::docker:
      return "docker";
    case Label::tools:
      return "tools";
    case Label::build:
      return "build";
  }
  return "";
}

}  // namespace

std::string missing_program(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (!has_program(name)) return std::string(name) + " is not in PATH: install it";
  }
  return {};
}

std::string missing_fault_points() {
#ifdef FCVM_FAULT_POINTS
  return {};
#else
  return "this build has no fault points: PRESET=ci has them";
#endif
}

std::string missing_for(Label label) {
  switch (label) {
    case Label::root:
      return missing_for_root();
    case Label::vm:
      return missing_for_vm();
    case Label::podman:
      return missing_for_podman();
    case Label::docker:
      return missing_for_docker();
    case Label::registry:
      return missing_program({"docker-registry", "skopeo"});
    case Label::user_ids:
      return has_program("newuidmap") ? missing_for_root()
                                      : "newuidmap is not in PATH: install uidmap";
    case Label::tools:
    case Label::build:
      return {};
  }
  return "unknown label";
}

bool is_required(Label label) {
  const char* list = std::getenv("REQUIRE_TESTS");
  if (list == nullptr) {
    return false;
  }
  std::istringstream names(list);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == require_tests_name(label)) {
      return true;
    }
  }
  return false;
}

Verdict decide(std::string_view missing, bool required) {
  if (missing.empty()) {
    return Verdict::run;
  }
  return required ? Verdict::fail : Verdict::skip;
}

}  // namespace tests
