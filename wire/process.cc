#include "wire/process.h"

#include <csignal>

#include "base/json.h"
#include "wire/detail/json_fields.h"
#include "wire/message_stream.h"

namespace wire {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxEventBytes = 64 * 1024;
constexpr std::size_t kMaxMessageTextBytes = 16 * 1024;

constexpr std::pair<std::string_view, ProcessStart::Kind> kStartKinds[] = {
    {"container", ProcessStart::Kind::kContainer}, {"attach", ProcessStart::Kind::kAttach},
    {"exec", ProcessStart::Kind::kExec},           {"guest", ProcessStart::Kind::kGuest},
    {"helper", ProcessStart::Kind::kHelper},
};

constexpr std::pair<std::string_view, ProcessCommand::Kind> kCommandKinds[] = {
    {"signal", ProcessCommand::Kind::kSignal},
    {"resize", ProcessCommand::Kind::kResize},
    {"close_stdin", ProcessCommand::Kind::kCloseStdin},
};

constexpr std::pair<std::string_view, ProcessEvent::Kind> kEventKinds[] = {
    {"started", ProcessEvent::Kind::kStarted},
    {"exited", ProcessEvent::Kind::kExited},
    {"failed", ProcessEvent::Kind::kFailed},
};

}  // namespace

std::string to_json(const ProcessStart& start) {
  return detail::dump(json{
      {"kind", detail::word_of(start.kind, kStartKinds)},
      {"tty", start.tty},
      {"use_stdin", start.use_stdin},
      {"use_stdout", start.use_stdout},
      {"use_stderr", start.use_stderr},
      {"detach", start.detach},
      {"rows", start.rows},
      {"columns", start.columns},
      {"process", start.process_json},
  });
}

std::string to_json(const ProcessCommand& command) {
  return detail::dump(json{
      {"kind", detail::word_of(command.kind, kCommandKinds)},
      {"signal", command.signal},
      {"rows", command.rows},
      {"columns", command.columns},
  });
}

std::string to_json(const ProcessEvent& event) {
  return detail::dump(json{
      {"kind", detail::word_of(event.kind, kEventKinds)},
      {"pid", event.pid},
      {"code", event.code},
      {"signal", event.signal},
      {"oom_killed", event.oom_killed},
      {"message", event.message.substr(0, kMaxMessageTextBytes / 3)},
  });
}

ProcessStart parse_process_start(std::string_view text) {
  const json value = base::parse_json(text, MessageStream::kMaxMessageBytes);
  const detail::JsonFields fields(value, "process start");
  ProcessStart start;
  start.kind = fields.one_of("kind", kStartKinds);
  start.tty = fields.boolean("tty");
  start.use_stdin = fields.boolean("use_stdin");
  start.use_stdout = fields.boolean("use_stdout");
  start.use_stderr = fields.boolean("use_stderr");
  start.detach = fields.boolean("detach");
  start.rows = fields.number<std::uint16_t>("rows");
  start.columns = fields.number<std::uint16_t>("columns");
  start.process_json = fields.text("process", MessageStream::kMaxMessageBytes);
  return start;
}

ProcessCommand parse_process_command(std::string_view text) {
  const json value = base::parse_json(text, kMaxEventBytes);
  const detail::JsonFields fields(value, "process command");
  ProcessCommand command;
  command.kind = fields.one_of("kind", kCommandKinds);
  command.signal = fields.number<int>("signal", 0, SIGRTMAX);
  if (command.kind == ProcessCommand::Kind::kSignal && command.signal == 0) {
    fields.fail("signal", "is out of range");
  }
  command.rows = fields.number<std::uint16_t>("rows");
  command.columns = fields.number<std::uint16_t>("columns");
  return command;
}

ProcessEvent parse_process_event(std::string_view text) {
  const json value = base::parse_json(text, kMaxEventBytes);
  const detail::JsonFields fields(value, "process event");
  ProcessEvent event;
  event.kind = fields.one_of("kind", kEventKinds);
  event.pid = fields.number<int>("pid", 0);
  event.code = fields.number<int>("code", 0, 255);
  event.signal = fields.number<int>("signal", 0, SIGRTMAX);
  event.oom_killed = fields.boolean("oom_killed");
  event.message = fields.text("message", kMaxMessageTextBytes);
  return event;
}

}  // namespace wire
