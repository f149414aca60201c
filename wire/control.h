#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wire {

// Requests of the monitor to the agent on kControlService; each gets one ControlReply, in order.
struct ControlRequest {
  enum class Op {
    kPing,
    kSignalContainer,  // `signal` to the container's first process, or to all of it
    kShutdown,         // stop the container (signal, then KILL after timeout), flush, power off
    kStats,            // memory, load, processes
    kSetClock,         // wall_clock_ns
  };
  std::uint64_t id = 0;
  Op op = Op::kPing;
  int signal = 0;
  bool all = false;
  std::int64_t timeout_ms = 0;
  std::int64_t wall_clock_ns = 0;
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
