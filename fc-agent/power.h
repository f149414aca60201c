#pragma once

#include <chrono>

namespace fc_agent {

// The end of the guest. Nothing here throws: what fails is logged, and the power goes off all the same.

// Ends every other process with SIGKILL and waits for them at most `timeout`. Reaps them itself: after
// this no Reaper hears of a child any more.
void kill_everything(std::chrono::milliseconds timeout) noexcept;

// Writes everything out and leaves the disks clean: unmounts what lies on a disk, newest first, and
// makes the root read-only.
void flush_disks() noexcept;

// Switches the virtual machine off. Where the kernel cannot, it resets the machine, which ends a VMM
// that was told not to reboot.
[[noreturn]] void power_off() noexcept;

}  // namespace fc_agent
