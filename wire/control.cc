#include "wire/control.h"

#include <csignal>

#include "base/json.h"
#include "wire/detail/json_fields.h"

namespace wire {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxControlMessageBytes = 64 * 1024;
constexpr std::size_t kMaxErrorBytes = 16 * 1024;

constexpr std::pair<std::string_view, ControlRequest::Op> kOps[] = {
    {"ping", ControlRequest::Op::kPing},          {"signal", ControlRequest::Op::kSignalContainer},
    {"shutdown", ControlRequest::Op::kShutdown},  {"stats", ControlRequest::Op::kStats},
    {"set_clock", ControlRequest::Op::kSetClock},
};

}  // namespace

std::string to_json(const ControlRequest& request) {
  return detail::dump(json{
      {"id", request.id},
      {"op", detail::word_of(request.op, kOps)},
      {"signal", request.signal},
      {"all", request.all},
      {"timeout_ms", request.timeout_ms},
      {"wall_clock_ns", request.wall_clock_ns},
  });
}

std::string to_json(const ControlReply& reply) {
  return detail::dump(json{
      {"id", reply.id},
      {"ok", reply.ok},
      {"error", reply.error.substr(0, kMaxErrorBytes / 3)},
      {"mem_total_kib", reply.mem_total_kib},
      {"mem_available_kib", reply.mem_available_kib},
      {"agent_private_kib", reply.agent_private_kib},
      {"processes", reply.processes},
      {"container_cpu_us", reply.container_cpu_us},
      {"container_mem_bytes", reply.container_mem_bytes},
      {"container_processes", reply.container_processes},
      {"container_read_bytes", reply.container_read_bytes},
      {"container_written_bytes", reply.container_written_bytes},
  });
}

ControlRequest parse_control_request(std::string_view text) {
  const json value = base::parse_json(text, kMaxControlMessageBytes);
  const detail::JsonFields fields(value, "control request");
  ControlRequest request;
  request.id = fields.number<std::uint64_t>("id");
  request.op = fields.one_of("op", kOps);
  request.signal = fields.number<int>("signal", 0, SIGRTMAX);
  request.all = fields.boolean("all");
  request.timeout_ms = fields.number<std::int64_t>("timeout_ms", 0);
  request.wall_clock_ns = fields.number<std::int64_t>("wall_clock_ns", 0);
  return request;
}

ControlReply parse_control_reply(std::string_view text) {
  const json value = base::parse_json(text, kMaxControlMessageBytes);
  const detail::JsonFields fields(value, "control reply");
  ControlReply reply;
  reply.id = fields.number<std::uint64_t>("id");
  reply.ok = fields.boolean("ok");
  reply.error = fields.text("error", kMaxErrorBytes);
  reply.mem_total_kib = fields.number<std::uint64_t>("mem_total_kib");
  reply.mem_available_kib = fields.number<std::uint64_t>("mem_available_kib");
  reply.agent_private_kib = fields.number<std::uint64_t>("agent_private_kib");
  reply.processes = fields.number<std::uint64_t>("processes");
  reply.container_cpu_us = fields.number<std::uint64_t>("container_cpu_us");
  reply.container_mem_bytes = fields.number<std::uint64_t>("container_mem_bytes");
  reply.container_processes = fields.number<std::uint64_t>("container_processes");
  reply.container_read_bytes = fields.number<std::uint64_t>("container_read_bytes");
  reply.container_written_bytes = fields.number<std::uint64_t>("container_written_bytes");
  return reply;
}

}  // namespace wire
