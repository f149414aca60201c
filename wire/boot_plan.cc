#include "wire/boot_plan.h"

#include <linux/virtio_blk.h>

#include <algorithm>

#include "base/base64.h"
#include "base/error.h"
#include "base/json.h"
#include "wire/detail/json_fields.h"
#include "wire/message_stream.h"

namespace wire {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxHostNameBytes = 64;  // sethostname(2)
constexpr std::size_t kMaxEntropyBytes = 4096;
constexpr std::size_t kMaxNameBytes = 128;
constexpr std::size_t kMaxModules = 128;
constexpr std::size_t kMaxDisks = 64;
constexpr std::size_t kMaxFiles = 256;
constexpr std::size_t kMaxLayers = 500;  // overlayfs takes no more (fs/overlayfs/super.c)
constexpr std::size_t kMaxRootEdits = 4096;
constexpr std::size_t kMaxSysctls = 256;
constexpr std::size_t kMaxSysctlBytes = 4096;
constexpr std::size_t kMaxEventBytes = 64 * 1024;
constexpr std::size_t kMaxEventTextBytes = 16 * 1024;
// A message has to hold it.
constexpr std::size_t kMaxContentBytes = MessageStream::kMaxMessageBytes;

constexpr std::pair<std::string_view, BootEvent::Kind> kEventKinds[] = {
    {"progress", BootEvent::Kind::kProgress},
    {"ready", BootEvent::Kind::kReady},
    {"failed", BootEvent::Kind::kFailed},
};

constexpr std::pair<std::string_view, PlanRootEdit::Kind> kEditKinds[] = {
    {"make_directory", PlanRootEdit::Kind::kMakeDirectory},
    {"require_directory", PlanRootEdit::Kind::kRequireDirectory},
    {"append", PlanRootEdit::Kind::kAppend},
    {"symlink", PlanRootEdit::Kind::kSymlink},
    {"bind", PlanRootEdit::Kind::kBind},
};

bool is_name(std::string_view text) {
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || c == '.';
    if (!plain) return false;
  }
  return !text.starts_with('.');
}

std::string name_field(const detail::JsonFields& fields, const char* name, std::size_t max_bytes,
                       bool may_be_empty = false) {
  std::string text = fields.text(name, max_bytes);
  if (!is_name(text) || (text.empty() && !may_be_empty)) fields.fail(name, "is not a name");
  return text;
}

std::string serial_field(const detail::JsonFields& fields, const char* name) {
  return name_field(fields, name, VIRTIO_BLK_ID_BYTES);
}

std::string machine_id_field(const detail::JsonFields& fields) {
  std::string text = fields.text("machine_id", 32);
  const bool hex = text.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
  if (!hex || (text.size() != 32 && !text.empty())) {
    fields.fail("machine_id", "is not 32 hexadecimal digits");
  }
  return text;
}

std::vector<std::string> name_list(const detail::JsonFields& fields, const char* name) {
  std::vector<std::string> names;
  for (const auto& element : fields.array(name, kMaxModules)) {
    if (!element.is_string()) fields.fail(name, "has an element that is not a string");
    const auto& text = element.get_ref<const std::string&>();
    if (text.empty() || text.size() > kMaxNameBytes || !is_name(text)) {
      fields.fail(name, "has an element that is not a name");
    }
    names.push_back(text);
  }
  return names;
}

json to_value(const PlanOverlay& overlay) {
  return {{"lower", overlay.lower},
          {"upper", overlay.upper},
          {"work", overlay.work},
          {"target", overlay.target}};
}

PlanOverlay parse_overlay(const detail::JsonFields& fields) {
  PlanOverlay overlay;
  for (const auto& element : fields.array("lower", kMaxLayers)) {
    if (!element.is_string()) fields.fail("lower", "has an element that is not a string");
    const auto& path = element.get_ref<const std::string&>();
    if (path.size() > detail::kMaxPathBytes || path.find('\0') != std::string::npos ||
        !detail::is_plain_path(path)) {
      fields.fail("lower", "has an element that is not an absolute path without '..'");
    }
    overlay.lower.push_back(path);
  }
  overlay.upper = fields.path("upper", true);
  overlay.work = fields.path("work", true);
  overlay.target = fields.path("target", true);
  return overlay;
}

json to_value(const PlanRootEdit& edit) {
  return {{"kind", detail::word_of(edit.kind, kEditKinds)},
          {"path", edit.path},
          {"text", base::encode_base64(edit.text)},
          {"mode", edit.mode},
          {"uid", edit.uid},
          {"gid", edit.gid}};
}

PlanRootEdit parse_root_edit(const json& value) {
  const detail::JsonFields fields(value, "boot plan: root edit");
  PlanRootEdit edit;
  edit.kind = fields.one_of("kind", kEditKinds);
  // An image may name it with "..": it is resolved inside the container's root.
  edit.path = fields.text("path", detail::kMaxPathBytes);
  if (!edit.path.starts_with('/')) fields.fail("path", "is not absolute");
  edit.text = fields.base64("text", kMaxContentBytes);
  const bool is_path = edit.kind == PlanRootEdit::Kind::kBind;
  if (is_path && (edit.text.size() > detail::kMaxPathBytes || !detail::is_plain_path(edit.text) ||
                  edit.text.find('\0') != std::string::npos)) {
    fields.fail("text", "is not an absolute path without '..'");
  }
  edit.mode = fields.number<std::uint32_t>("mode", 0, 07777);
  edit.uid = fields.number<std::uint32_t>("uid");
  edit.gid = fields.number<std::uint32_t>("gid");
  return edit;
}

std::map<std::string, std::string> parse_sysctls(const detail::JsonFields& fields) {
  std::map<std::string, std::string> sysctls;
  for (const auto& element : fields.array("sysctls", kMaxSysctls)) {
    const detail::JsonFields entry(element, "boot plan: sysctl");
    sysctls[name_field(entry, "name", kMaxNameBytes)] = entry.text("value", kMaxSysctlBytes);
  }
  return sysctls;
}

// One text of base64, for arguments may be any bytes but NUL.
std::string join_arguments(const std::vector<std::string>& arguments) {
  std::string joined;
  for (const auto& argument : arguments) joined += argument + '\0';
  return joined;
}

std::vector<std::string> split_arguments(std::string_view joined) {
  std::vector<std::string> arguments;
  while (!joined.empty()) {
    const auto end = std::min(joined.find('\0'), joined.size());
    arguments.emplace_back(joined.substr(0, end));
    joined.remove_prefix(std::min(end + 1, joined.size()));
  }
  return arguments;
}

PlanContainer parse_container(const detail::JsonFields& fields) {
  PlanContainer container;
  container.id = name_field(fields, "id", kMaxNameBytes, true);
  container.podman = split_arguments(fields.base64("podman", kMaxContentBytes));
  container.bundle = fields.path("bundle", true);
  container.config_json = fields.text("config", kMaxContentBytes);
  container.root = parse_overlay(fields.object("root"));
  for (const auto& edit : fields.array("root_edits", kMaxRootEdits)) {
    container.root_edits.push_back(parse_root_edit(edit));
  }
  return container;
}

PlanDisk parse_disk(const json& value) {
  const detail::JsonFields fields(value, "boot plan: disk");
  PlanDisk disk;
  disk.serial = serial_field(fields, "serial");
  disk.mount_point = fields.path("mount_point");
  disk.fs_type = name_field(fields, "fs_type", kMaxNameBytes);
  disk.read_only = fields.boolean("read_only");
  return disk;
}

PlanFile parse_file(const json& value) {
  const detail::JsonFields fields(value, "boot plan: file");
  PlanFile file;
  file.path = fields.path("path");
  file.content = fields.base64("content", kMaxContentBytes);
  file.mode = fields.number<std::uint32_t>("mode", 0, 07777);
  return file;
}

}  // namespace

std::string to_json(const BootPlan& plan) {
  json disks = json::array();
  for (const auto& disk : plan.disks) {
    disks.push_back({{"serial", disk.serial},
                     {"mount_point", disk.mount_point},
                     {"fs_type", disk.fs_type},
                     {"read_only", disk.read_only}});
  }
  json files = json::array();
  for (const auto& file : plan.files) {
    files.push_back(
        {{"path", file.path}, {"content", base::encode_base64(file.content)}, {"mode", file.mode}});
  }
  json sysctls = json::array();
  for (const auto& [name, setting] : plan.sysctls) {
    sysctls.push_back({{"name", name}, {"value", setting}});
  }
  json edits = json::array();
  for (const auto& edit : plan.container.root_edits) edits.push_back(to_value(edit));
  return detail::dump(json{
      {"version", BootPlan::kVersion},
      {"host_name", plan.host_name},
      {"wall_clock_ns", plan.wall_clock_ns},
      {"entropy", base::encode_base64(plan.entropy)},
      {"machine_id", plan.machine_id},
      {"root_serial", plan.root_serial},
      {"grow_root_to_bytes", plan.grow_root_to_bytes},
      {"modules", plan.modules},
      {"disks", std::move(disks)},
      {"files", std::move(files)},
      {"sysctls", std::move(sysctls)},
      {"container",
       {{"id", plan.container.id},
        {"podman", base::encode_base64(join_arguments(plan.container.podman))},
        {"bundle", plan.container.bundle},
        {"config", plan.container.config_json},
        {"root", to_value(plan.container.root)},
        {"root_edits", std::move(edits)}}},
      {"log_level", plan.log_level},
  });
}

BootPlan parse_boot_plan(std::string_view text) {
  const json value = base::parse_json(text, MessageStream::kMaxMessageBytes);
  const detail::JsonFields fields(value, "boot plan");
  const auto version = fields.number<std::uint32_t>("version");
  if (version != BootPlan::kVersion) {
    throw base::Error(
        base::cat("boot plan: version ", version, ", this agent knows ", BootPlan::kVersion));
  }
  BootPlan plan;
  plan.host_name = fields.text("host_name", kMaxHostNameBytes);
  plan.wall_clock_ns = fields.number<std::int64_t>("wall_clock_ns", 0);
  plan.entropy = fields.base64("entropy", kMaxEntropyBytes);
  plan.machine_id = machine_id_field(fields);
  plan.root_serial = serial_field(fields, "root_serial");
  plan.grow_root_to_bytes = fields.number<std::uint64_t>("grow_root_to_bytes");
  plan.modules = name_list(fields, "modules");
  for (const auto& disk : fields.array("disks", kMaxDisks)) plan.disks.push_back(parse_disk(disk));
  for (const auto& file : fields.array("files", kMaxFiles)) plan.files.push_back(parse_file(file));
  plan.sysctls = parse_sysctls(fields);
  plan.container = parse_container(fields.object("container"));
  plan.log_level = name_field(fields, "log_level", kMaxNameBytes);
  return plan;
}

std::string to_json(const BootEvent& event) {
  return detail::dump(json{
      {"kind", detail::word_of(event.kind, kEventKinds)},
      {"step", event.step.substr(0, kMaxEventTextBytes / 3)},
      {"since_start_us", event.since_start_us},
      {"message", event.message.substr(0, kMaxEventTextBytes / 3)},
  });
}

BootEvent parse_boot_event(std::string_view text) {
  const json value = base::parse_json(text, kMaxEventBytes);
  const detail::JsonFields fields(value, "boot event");
  BootEvent event;
  event.kind = fields.one_of("kind", kEventKinds);
  event.step = fields.text("step", kMaxEventTextBytes);
  event.since_start_us = fields.number<std::int64_t>("since_start_us", 0);
  event.message = fields.text("message", kMaxEventTextBytes);
  return event;
}

}  // namespace wire
