#include "wire/control.h"

#include <csignal>

#include "base/base64.h"
#include "base/json.h"
#include "wire/detail/json_fields.h"
#include "wire/message_stream.h"

namespace wire {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxControlMessageBytes = 64 * 1024;
constexpr std::size_t kMaxHostNameBytes = 64;  // sethostname(2)
constexpr std::size_t kMaxEntropyBytes = 4096;
constexpr std::size_t kMaxIdentityFiles = 16;
constexpr std::size_t kMaxErrorBytes = 16 * 1024;

constexpr std::pair<std::string_view, ControlRequest::Op> kOps[] = {
    {"ping", ControlRequest::Op::kPing},          {"signal", ControlRequest::Op::kSignalContainer},
    {"shutdown", ControlRequest::Op::kShutdown},  {"stats", ControlRequest::Op::kStats},
    {"set_clock", ControlRequest::Op::kSetClock}, {"quiesce", ControlRequest::Op::kQuiesce},
    {"identify", ControlRequest::Op::kIdentify},  {"thaw", ControlRequest::Op::kThaw},
};

json to_value(const GuestIdentity& identity) {
  json files = json::array();
  for (const auto& file : identity.files) {
    files.push_back({{"path", file.path}, {"content", base::encode_base64(file.content)}});
  }
  return {{"host_name", identity.host_name},
          {"machine_id", identity.machine_id},
          {"entropy", base::encode_base64(identity.entropy)},
          {"files", files}};
}

GuestIdentity parse_identity(const json& value) {
  const detail::JsonFields fields(value, "identity");
  GuestIdentity identity;
  identity.host_name = fields.text("host_name", kMaxHostNameBytes);
  identity.machine_id = fields.text("machine_id", 32);
  const bool hex = identity.machine_id.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!hex || identity.machine_id.size() != 32) {
    fields.fail("machine_id", "is not 32 hexadecimal digits");
  }
  identity.entropy = fields.base64("entropy", kMaxEntropyBytes);
  for (const auto& element : fields.array("files", kMaxIdentityFiles)) {
    const detail::JsonFields file(element, "identity file");
    identity.files.push_back(
        {file.path("path"), file.base64("content", MessageStream::kMaxMessageBytes), 0644});
  }
  return identity;
}

}  // namespace

std::string to_json(const ControlRequest& request) {
  json value{
      {"id", request.id},
      {"op", detail::word_of(request.op, kOps)},
      {"signal", request.signal},
      {"all", request.all},
      {"timeout_ms", request.timeout_ms},
      {"wall_clock_ns", request.wall_clock_ns},
  };
  if (request.identity) value["identity"] = to_value(*request.identity);
  return detail::dump(value);
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
  // Hosts' files are the host's word, and may be long.
  const json value = base::parse_json(text, MessageStream::kMaxMessageBytes);
  const detail::JsonFields fields(value, "control request");
  ControlRequest request;
  request.id = fields.number<std::uint64_t>("id");
  request.op = fields.one_of("op", kOps);
  request.signal = fields.number<int>("signal", 0, SIGRTMAX);
  request.all = fields.boolean("all");
  request.timeout_ms = fields.number<std::int64_t>("timeout_ms", 0);
  request.wall_clock_ns = fields.number<std::int64_t>("wall_clock_ns", 0);
  if (request.op == ControlRequest::Op::kIdentify) {
    request.identity = parse_identity(value.contains("identity") ? value["identity"] : json());
  }
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
