#pragma once

#include <string_view>

namespace fc_agent {

// Prints the one line that says user space has started, first of all: bench and boot watchdog read
// it. Never throws: a guest without a console is still a guest.
void announce_start();

// Descriptors 0, 1 and 2 become /dev/null, /dev/console and /dev/console, whatever the kernel had put
// there. Call after /dev is mounted, before anything else opens a file.
void set_up_stdio();

// Sends base::log to the kernel's ring buffer (/dev/kmsg), at most kLogLinesPerWindow lines in ten
// seconds so that no service can flood the console; what is dropped is counted in the next line.
// Call after /dev is mounted.
void log_to_kernel();

inline constexpr int kLogLinesPerWindow = 100;

}  // namespace fc_agent
