#include "cli/attach.h"

#include "base/event_loop.h"
#include "cli/output.h"
#include "vm/flag_parsers.h"

namespace cli {

int exit_status(const Invocation& invocation, const vm::SessionResult& result) {
  switch (result.end) {
    case vm::SessionResult::End::kFailed:
      print_error_text(error_text(invocation.command->name, result.message, ""));
      break;
    case vm::SessionResult::End::kOutputClosed:
    case vm::SessionResult::End::kExited:
    case vm::SessionResult::End::kInterrupted:
    case vm::SessionResult::End::kDetached:
    case vm::SessionResult::End::kStarted:
      break;
  }
  if (result.output_error) print_error(invocation.command->name, *result.output_error);
  return result.exit_code;
}

int attach(Invocation& invocation) {
  vm::SessionOptions session;
  session.detach_keys = vm::RunOptions{}.detach_keys;
  bool no_stdin = false;
  Options options;
  options.value(
      "detach-keys", "KEYS", "Keys that leave a terminal; default ctrl-p,ctrl-q",
      [&](const std::string& text) { session.detach_keys = vm::parse_detach_keys(text); });
  options.flag("no-stdin", no_stdin, "Do not pass standard input on");
  options.flag("sig-proxy", session.proxy_signals,
               "Pass signals on to the container; the default, --sig-proxy=false switches it off");
  const auto arguments = invocation.parse(options, Order::kAnywhere);
  if (arguments.size() != 1) throw UsageError("name one VM");

  const vm::VmManager manager = invocation.manager();
  const vm::VmRecord record = manager.find(arguments.front());
  if (record.status != vm::VmStatus::kRunning) {
    throw base::Error(base::cat("one can attach to a running VM only, and ",
                                base::quoted(record.name), " is ", to_string(record.status)));
  }
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kAttach;
  start.tty = record.tty;
  start.use_stdin = record.open_stdin && !no_stdin;
  start.use_stderr = !record.tty;
  base::EventLoop loop;
  return exit_status(invocation, vm::run_session(loop, manager.connect(record), start, session));
}

}  // namespace cli
