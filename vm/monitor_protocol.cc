#include "vm/monitor_protocol.h"

#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/json.h"

namespace vm {
namespace {

using Json = nlohmann::json;
using Op = MonitorRequest::Op;

constexpr std::array<std::pair<Op, std::string_view>, 12> kOpNames{{
    {Op::kPing, "ping"},
    {Op::kStop, "stop"},
    {Op::kKill, "kill"},
    {Op::kWait, "wait"},
    {Op::kTimings, "timings"},
    {Op::kPause, "pause"},
    {Op::kStats, "stats"},
    {Op::kUnpause, "unpause"},
    {Op::kRestart, "restart"},
    {Op::kRename, "rename"},
    {Op::kSave, "save"},
    {Op::kHealth, "health"},
}};

constexpr std::array<std::pair<std::uint64_t VmStats::*, const char*>, 7> kStatsFields{{
    {&VmStats::cpu_us, "cpu_us"},
    {&VmStats::mem_bytes, "mem_bytes"},
    {&VmStats::processes, "processes"},
    {&VmStats::read_bytes, "read_bytes"},
    {&VmStats::written_bytes, "written_bytes"},
    {&VmStats::vmm_cpu_us, "vmm_cpu_us"},
    {&VmStats::vmm_resident_bytes, "vmm_resident_bytes"},
}};

}  // namespace

std::string to_json(const MonitorRequest& request) {
  Json json{{"signal", request.signal}, {"even_paused", request.even_paused}};
  for (const auto& [op, name] : kOpNames) {
    if (op == request.op) json["op"] = name;
  }
  if (request.timeout_s) json["timeout_s"] = *request.timeout_s;
  if (!request.name.empty()) json["name"] = request.name;
  if (!request.directory.empty()) json["directory"] = request.directory;
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string to_json(const MonitorReply& reply) {
  Json json{{"ok", reply.ok},
            {"error", reply.error},
            {"removed", reply.removed},
            {"timings_us", reply.timings_us}};
  if (reply.exit_code) json["exit_code"] = *reply.exit_code;
  if (reply.link_epoch != 0) json["link_epoch"] = reply.link_epoch;
  if (reply.stats) {
    for (const auto& [field, name] : kStatsFields) json["stats"][name] = (*reply.stats).*field;
  }
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

MonitorRequest parse_monitor_request(std::string_view text) {
  const Json json = base::parse_json(text, 64 * 1024);
  MonitorRequest request;
  try {
    const auto wanted = json.at("op").get<std::string>();
    bool known = false;
    for (const auto& [op, name] : kOpNames) {
      if (name == wanted) {
        request.op = op;
        known = true;
      }
    }
    if (!known) throw base::Error(base::cat("unknown request ", base::quoted(wanted)));
    request.signal = json.value("signal", 0);
    request.even_paused = json.value("even_paused", false);
    request.name = json.value("name", std::string());
    request.directory = json.value("directory", std::string());
    if (json.contains("timeout_s")) request.timeout_s = json.at("timeout_s").get<int>();
  } catch (const Json::exception& error) {
    throw base::Error(base::cat("reading a monitor request: ", error.what()));
  }
  return request;
}

MonitorReply parse_monitor_reply(std::string_view text) {
  const Json json = base::parse_json(text);
  MonitorReply reply;
  try {
    json.at("ok").get_to(reply.ok);
    reply.error = json.value("error", std::string());
    reply.removed = json.value("removed", false);
    if (json.contains("timings_us")) json.at("timings_us").get_to(reply.timings_us);
    reply.link_epoch = json.value("link_epoch", std::uint64_t{0});
    if (json.contains("exit_code")) reply.exit_code = json.at("exit_code").get<int>();
    if (json.contains("stats")) {
      reply.stats.emplace();
      for (const auto& [field, name] : kStatsFields) {
        (*reply.stats).*field = json.at("stats").value(name, std::uint64_t{0});
      }
    }
  } catch (const Json::exception& error) {
    throw base::Error(base::cat("reading a monitor reply: ", error.what()));
  }
  return reply;
}

}  // namespace vm
