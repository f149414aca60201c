#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "wire/boot_plan.h"

namespace wire {

// What makes a clone another guest than the one it was a snapshot of.
struct GuestIdentity {
  std::string host_name;   // of the guest and of the container
  std::string machine_id;  // 32 hexadecimal digits
  std::string entropy;     // random bytes for the kernel's pool, which is reseeded at once
  std::vector<PlanFile>
      files;  // as the boot plan's; written in place, for they are bound elsewhere
};

// Requests of the monitor to the agent on kControlService; each gets one ControlReply, in order.
struct ControlRequest {
  enum class Op {
    kPing,
    kSignalContainer,  // `signal` to the container's first process, or to all of it
    kShutdown,         // stop the container (signal, then KILL after timeout), flush, power off
    kStats,            // memory, load, processes
    kSetClock,         // wall_clock_ns
    // For a snapshot: the container's processes stand still and what was written is on the disk.
    kQuiesce,
    kIdentify,  // `identity`; in a clone, while it is still quiesced
    kThaw,      // wall_clock_ns, then the container goes on
  };
  std::uint64_t id = 0;
  Op op = Op::kPing;
  int signal = 0;
  bool all = false;
  std::int64_t timeout_ms = 0;
  std::int64_t wall_clock_ns = 0;
  std::optional<GuestIdentity> identity{};
};

struct ControlReply {
  std::uint64_t id = 0;
  bool ok = true;
  std::string error;
  // kStats
  std::uint64_t mem_total_kib = 0;
  std::uint64_t mem_available_kib = 0;
  std::uint64_t agent_private_kib = 0;
  std::uint64_t processes = 0;
  std::uint64_t container_cpu_us = 0;
  std::uint64_t container_mem_bytes = 0;
  std::uint64_t container_processes = 0;  // threads, as podman counts
  std::uint64_t container_read_bytes = 0;
  std::uint64_t container_written_bytes = 0;
};

std::string to_json(const ControlRequest& request);
std::string to_json(const ControlReply& reply);
ControlRequest parse_control_request(std::string_view json);
ControlReply parse_control_reply(std::string_view json);

}  // namespace wire
