#include "wire/process_list.h"

#include "base/json.h"
#include "wire/detail/json_fields.h"

namespace wire {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxNameBytes = 256;
// Text that was not UTF-8 has grown.
constexpr std::size_t kMaxTextBytes = 3 * ProcessInfo::kMaxArgumentBytes;

json to_value(const ProcessInfo& process) {
  return {
      {"pid", process.pid},
      {"parent_pid", process.parent_pid},
      {"guest_pid", process.guest_pid},
      {"group_pid", process.group_pid},
      {"user", process.user},
      {"real_user", process.real_user},
      {"group", process.group},
      {"real_group", process.real_group},
      {"groups", process.groups},
      {"command", process.command},
      {"arguments", process.arguments},
      {"state", process.state},
      {"terminal", process.terminal},
      {"nice", process.nice},
      {"resident_kib", process.resident_kib},
      {"virtual_kib", process.virtual_kib},
      {"cpu_ms", process.cpu_ms},
      {"elapsed_ms", process.elapsed_ms},
      {"seccomp", process.seccomp},
      {"cap_effective", process.cap_effective},
      {"cap_permitted", process.cap_permitted},
      {"cap_inheritable", process.cap_inheritable},
      {"cap_bounding", process.cap_bounding},
      {"cap_ambient", process.cap_ambient},
  };
}

ProcessInfo parse_process(const json& value) {
  const detail::JsonFields fields(value, "process");
  ProcessInfo process;
  process.pid = fields.number<std::int32_t>("pid", 0);
  process.parent_pid = fields.number<std::int32_t>("parent_pid", 0);
  process.guest_pid = fields.number<std::int32_t>("guest_pid", 0);
  process.group_pid = fields.number<std::int32_t>("group_pid", 0);
  process.user = fields.text("user", kMaxNameBytes);
  process.real_user = fields.text("real_user", kMaxNameBytes);
  process.group = fields.text("group", kMaxNameBytes);
  process.real_group = fields.text("real_group", kMaxNameBytes);
  process.groups = fields.text("groups", kMaxTextBytes);
  process.command = fields.text("command", kMaxNameBytes);
  process.arguments = fields.text("arguments", kMaxTextBytes);
  process.state = fields.text("state", 1);
  process.terminal = fields.text("terminal", kMaxNameBytes);
  process.nice = fields.number<std::int32_t>("nice");
  process.resident_kib = fields.number<std::uint64_t>("resident_kib");
  process.virtual_kib = fields.number<std::uint64_t>("virtual_kib");
  process.cpu_ms = fields.number<std::uint64_t>("cpu_ms");
  process.elapsed_ms = fields.number<std::uint64_t>("elapsed_ms");
  process.seccomp = fields.number<std::int32_t>("seccomp");
  process.cap_effective = fields.number<std::uint64_t>("cap_effective");
  process.cap_permitted = fields.number<std::uint64_t>("cap_permitted");
  process.cap_inheritable = fields.number<std::uint64_t>("cap_inheritable");
  process.cap_bounding = fields.number<std::uint64_t>("cap_bounding");
  process.cap_ambient = fields.number<std::uint64_t>("cap_ambient");
  return process;
}

}  // namespace

std::string to_json(const ProcessList& list) {
  json processes = json::array();
  for (const auto& process : list.processes) processes.push_back(to_value(process));
  return detail::dump(json{{"processes", std::move(processes)}, {"left_out", list.left_out}});
}

ProcessList parse_process_list(std::string_view text) {
  const json value = base::parse_json(text, ProcessList::kMaxBytes);
  const detail::JsonFields fields(value, "process list");
  ProcessList list;
  for (const auto& process : fields.array("processes", ProcessList::kMaxProcesses)) {
    list.processes.push_back(parse_process(process));
  }
  list.left_out = fields.number<std::uint64_t>("left_out");
  return list;
}

}  // namespace wire
