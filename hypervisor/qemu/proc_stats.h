#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace hypervisor::qemu {

// Fields utime and stime of a stat file of proc(5). Nothing when the text is not one.
std::optional<std::chrono::microseconds> parse_cpu_time(std::string_view stat,
                                                        long ticks_per_second);

// CPU time of a process of ours that was not reaped yet, or of one of its threads; zero when it has
// just ended.
std::chrono::microseconds process_cpu_time(pid_t pid);
std::chrono::microseconds thread_cpu_time(pid_t pid, pid_t tid);

}  // namespace hypervisor::qemu
