#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wire {

// Running a process in a guest, spoken on the guest link (monitor opens, agent serves) and in the
// same words on monitor.sock (CLI opens, monitor serves). For one process the opener opens, in any
// order, up to three streams whose argument is the same id chosen by the opener:
//   kProcessService  messages: ProcessStart, then ProcessCommand; back come ProcessEvent
//   kStdioService    bytes: stdin toward the process, its stdout (or its terminal) back
//   kStderrService   bytes: its stderr back; not with a tty
// The process starts when the streams that ProcessStart announces are there. A stdio stream that is
// reset is like a closed pipe; the process goes on.
struct ProcessStart {
  enum class Kind {
    kContainer,  // the container's own first process, from the boot plan; once per boot
    // The streams of the running container process. On the guest link only under a later epoch than
    // that in which it was started: in a clone.
    kAttach,
    kExec,    // a further process in the container
    kGuest,   // a process in the guest itself, outside the container
    kHelper,  // a helper of the agent's (wire/helper.h) that looks into the running container
  };
  Kind kind = Kind::kExec;
  bool tty = false;
  bool use_stdin =
      false;  // false: the process reads /dev/null, the stdio stream only brings stdout
  bool use_stdout = true;
  bool use_stderr = true;
  bool detach = false;     // kExec, kGuest: no stdio streams; report kStarted, then finish
  std::uint16_t rows = 0;  // of the tty; 0: unknown
  std::uint16_t columns = 0;
  // kGuest: an OCI process object. kExec: one without `user` and `capabilities`, for which the agent
  // looks into the container's files: its member `resolve_user` has the `user` as "name:group" or
  // numbers, and the `root_capabilities` and `other_capabilities` that depend on who that is.
  // kHelper: a HelperRequest.
  std::string process_json;
};

// Which streams go with it. The opener opens exactly these; the server waits for them.
inline bool needs_stdio(const ProcessStart& start) {
  return !start.detach && (start.use_stdin || start.use_stdout || start.tty);
}
inline bool needs_stderr(const ProcessStart& start) {
  return !start.detach && start.use_stderr && !start.tty;
}

struct ProcessCommand {
  enum class Kind { kSignal, kResize, kCloseStdin };
  Kind kind = Kind::kSignal;
  int signal = 0;
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};

struct ProcessEvent {
  enum class Kind {
    kStarted,
    kExited,  // after all its output has been handed to the streams
    kFailed,  // it never ran
  };
  Kind kind = Kind::kStarted;
  int pid = 0;     // kStarted: in the guest's own pid namespace
  int code = 0;    // kExited: exit code; kFailed: 125, 126 or 127
  int signal = 0;  // kExited: the signal that ended it, or 0
  bool oom_killed = false;
  std::string message;  // kFailed
};

std::string to_json(const ProcessStart& start);
std::string to_json(const ProcessCommand& command);
std::string to_json(const ProcessEvent& event);
// Throw base::Error for malformed input.
ProcessStart parse_process_start(std::string_view json);
ProcessCommand parse_process_command(std::string_view json);
ProcessEvent parse_process_event(std::string_view json);

inline constexpr std::string_view kBootService = "boot";
inline constexpr std::string_view kProcessService = "process";
inline constexpr std::string_view kStdioService = "stdio";
inline constexpr std::string_view kStderrService = "stderr";
inline constexpr std::string_view kControlService = "control";
// monitor.sock only.
inline constexpr std::string_view kRequestService = "request";

}  // namespace wire
