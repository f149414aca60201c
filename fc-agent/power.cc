#include "fc-agent/power.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <string_view>

#include "base/error.h"
#include "base/log.h"
#include "base/mount.h"

namespace fc_agent {
namespace {

// They hold nothing that outlives the guest, and unmounting costs time.
bool is_in_memory(std::string_view fs_type) {
  static constexpr std::array<std::string_view, 8> kTypes{"proc",  "sysfs",  "devtmpfs", "devpts",
                                                          "tmpfs", "mqueue", "cgroup2",  "rootfs"};
  return std::find(kTypes.begin(), kTypes.end(), fs_type) != kTypes.end();
}

void unmount_disks() {
  auto mounts = base::mounts_below("");
  std::reverse(mounts.begin(), mounts.end());
  for (const auto& mount : mounts) {
    if (mount.mount_point == "/" || is_in_memory(mount.fs_type)) continue;
    if (::umount2(mount.mount_point.c_str(), 0) != 0) {
      base::log_warn(base::Error(errno, "unmounting", mount.mount_point).what());
    }
  }
}

}  // namespace

void kill_everything(std::chrono::milliseconds timeout) noexcept {
  using Clock = std::chrono::steady_clock;
  // Everything but PID 1 itself.
  if (::getpid() != 1 || ::kill(-1, SIGKILL) != 0) return;
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  const auto deadline = Clock::now() + timeout;
  while (true) {
    pid_t reaped;
    while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (reaped < 0 && errno == ECHILD) return;
    const auto left =
        std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - Clock::now()).count();
    if (left <= 0) return;
    const timespec wait{static_cast<time_t>(left / 1'000'000'000), left % 1'000'000'000};
    // SIGCHLD is blocked since the Reaper was made, so none is lost in between.
    ::sigtimedwait(&child, nullptr, &wait);
  }
}

void flush_disks() noexcept {
  ::sync();
  try {
    unmount_disks();
  } catch (const std::exception& error) {
    base::log_warn(error.what());
  }
  if (::mount("none", "/", nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) {
    // Still mounted for writing: at least everything is on the disk, and the journal says so.
    ::sync();
  }
}

void power_off() noexcept {
  ::reboot(RB_POWER_OFF);
  ::reboot(RB_AUTOBOOT);
  while (true) ::pause();
}

}  // namespace fc_agent
