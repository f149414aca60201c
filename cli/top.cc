#include "base/event_loop.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/output.h"
#include "cli/top_columns.h"
#include "vm/copy.h"

namespace cli {
namespace {

// As podman: with options of ps(1) it is the container's own ps that answers.
int run_ps(Invocation& invocation, const vm::VmManager& manager, const vm::VmRecord& record,
           const std::vector<std::string>& arguments) {
  vm::ExecOptions exec;
  exec.command = {"ps"};
  exec.command.insert(exec.command.end(), arguments.begin(), arguments.end());
  exec.user = "0";
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kExec;
  start.process_json = manager.exec_process(record, exec);
  vm::SessionOptions session;
  session.signals_end = true;
  base::EventLoop loop;
  return exit_status(invocation, vm::run_session(loop, manager.connect(record), start, session));
}

}  // namespace

int top(Invocation& invocation) {
  Options options;
  const auto arguments = invocation.parse(options, Order::kBeforeArguments);
  if (arguments.empty()) throw UsageError("name a VM");
  const std::vector<std::string> rest(arguments.begin() + 1, arguments.end());
  bool ps_options = false;
  for (const auto& word : rest) ps_options = ps_options || word.starts_with('-');
  if (!ps_options) check_descriptors(rest);

  const vm::VmManager manager = invocation.manager();
  const vm::VmRecord record = manager.find(arguments.front());
  if (ps_options) {
    if (record.status != vm::VmStatus::kRunning) {
      throw base::Error(base::cat("VM ", base::quoted(record.name), " is ",
                                  to_string(record.status),
                                  ", and only a running one can be looked into"));
    }
    return run_ps(invocation, manager, record, rest);
  }
  const wire::ProcessList list = vm::container_processes(manager, record);
  print(top_table(list, rest));
  if (list.left_out != 0) {
    print_error_text(base::cat("fcvm: top: ", list.left_out, " more processes are not shown\n"));
  }
  return 0;
}

}  // namespace cli
