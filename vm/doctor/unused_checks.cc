// What the host has for features this version does not have yet. Never "ok": that would promise them.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "vm/doctor/checks.h"

namespace vm {
namespace {

constexpr char kNotYet[] = ", not in this version yet";

// `found` is what the host has; when it has nothing, why.
Check unused(const char* name, bool there, const std::string& found, const std::string& cost,
             const std::string& fix) {
  return there ? degraded(name, found + kNotYet, cost, "")
               : missing(name, base::cat(found, "; it is", kNotYet + 1), cost, fix);
}

Check device_check(const char* name, const char* path, const std::string& cost,
                   const std::string& fix) {
  const base::Fd device = base::try_open_file(path, O_RDWR);
  if (device) return unused(name, true, path, cost, "");
  const int errnum = errno;
  return unused(name, false, base::cat(path, ": ", std::strerror(errnum)), cost,
                errnum == ENOENT ? fix : "give this user access to the device");
}

Check program_check(const char* name, const std::string& program, const std::string& package,
                    const std::string& cost) {
  const Program found = look_for_program(program, "--version");
  return unused(name, !found.path.empty(), found.found, cost, "apt-get install " + package);
}

// Page faults of system calls must be served too, which UFFD_USER_MODE_ONLY would leave out.
Check userfaultfd_check() {
  const char cost[] = "nothing yet: snapshots will need it";
  const base::Fd device = base::try_open_file("/dev/userfaultfd", O_RDWR);
  // SAFETY: the ioctl takes flags and returns a descriptor, which the Fd owns.
  if (device && base::Fd(::ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC))) {
    return unused("userfaultfd", true, "by /dev/userfaultfd", cost, "");
  }
  const base::Fd by_call(static_cast<int>(::syscall(SYS_userfaultfd, O_CLOEXEC)));
  const int errnum = errno;
  if (by_call) return unused("userfaultfd", true, "by the system call", cost, "");
  return unused("userfaultfd", false, base::cat("userfaultfd(2): ", std::strerror(errnum)), cost,
                errnum == EPERM ? "sysctl vm.unprivileged_userfaultfd=1" : "");
}

Check docker_check() {
  const Program docker = look_for_program("dockerd", "--version");
  return unused("docker runtime", !docker.path.empty(),
                docker.path.empty() ? docker.found : docker.found + ", no runcvm",
                "docker run uses no microVMs", "");
}

}  // namespace

std::vector<Check> unused_checks() {
  const std::string bridged = "nothing yet: network bridged will need it";
  const std::string rootless = "nothing yet: network rootless will need it";
  return {userfaultfd_check(),
          device_check("tun", "/dev/net/tun", "nothing yet: networks will need it", "modprobe tun"),
          program_check("nftables", "nft", "nftables", bridged),
          program_check("slirp4netns", "slirp4netns", "slirp4netns", rootless),
          program_check("pasta", "pasta", "passt", rootless),
          device_check("fuse", "/dev/fuse", "nothing yet: --map will need it", "modprobe fuse"),
          docker_check()};
}

}  // namespace vm
