#include "base/event_loop.h"
#include "base/signals.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/output.h"
#include "vm/flag_parsers.h"

namespace cli {
namespace {

int start_attached(const Invocation& invocation, vm::VmManager& manager, const vm::VmRecord& vm,
                   bool interactive, const vm::SessionOptions& session) {
  const base::SignalMask until_attached({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2});
  wire::ProcessStart start;
  start.kind =
      vm.has_monitor() ? wire::ProcessStart::Kind::kAttach : wire::ProcessStart::Kind::kContainer;
  start.tty = vm.tty;
  start.use_stdin = interactive && vm.open_stdin;
  start.use_stderr = !vm.tty;
  base::Fd monitor = vm.has_monitor() ? manager.connect(vm) : manager.start(vm, 0);
  base::EventLoop loop;
  return exit_status(invocation, vm::run_session(loop, std::move(monitor), start, session));
}

}  // namespace

int start(Invocation& invocation) {
  bool all = false;
  bool attach = false;
  bool interactive = false;
  vm::SessionOptions session;
  session.detach_keys = vm::RunOptions{}.detach_keys;
  Options options;
  options.flag("all", all, "Every VM that does not run");
  options.flag("attach,a", attach, "Attach to the container's output, and end with its status");
  options.flag("interactive,i", interactive, "With --attach: pass standard input on");
  options.value(
      "detach-keys", "KEYS", "Keys that leave a terminal; default ctrl-p,ctrl-q",
      [&](const std::string& text) { session.detach_keys = vm::parse_detach_keys(text); });
  auto names = invocation.parse(options, Order::kAnywhere);
  require_names(names, all);
  if (attach && (all || names.size() > 1)) {
    throw UsageError("only one VM can be started and attached to");
  }
  vm::VmManager manager = invocation.manager();
  if (attach) {
    return start_attached(invocation, manager, manager.find(names.front()), interactive, session);
  }
  if (all) {
    for (const auto& vm : manager.list()) {
      if (!vm.has_monitor()) names.push_back(vm.id);
    }
  }
  return for_each_vm(invocation, manager, names,
                     [&](const vm::VmRecord& vm, const std::string& name) {
                       if (vm.has_monitor()) return;  // podman says nothing of it either
                       manager.start_detached(vm);
                       print(name + '\n');
                     });
}

}  // namespace cli
