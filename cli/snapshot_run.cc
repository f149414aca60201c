#include <csignal>

#include "base/event_loop.h"
#include "base/rollback.h"
#include "base/signals.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "vm/snapshot/snapshot_store.h"

namespace cli {
namespace {

struct Flags {
  std::string tag;
  std::string command;  // of --exec; empty: none
  bool detach = false;
  vm::CloneOptions clone;
};

vm::SessionResult session_of(base::Fd monitor, wire::ProcessStart start) {
  base::EventLoop loop;
  vm::SessionOptions session;
  session.detach_keys = vm::RunOptions{}.detach_keys;
  return vm::run_session(loop, std::move(monitor), std::move(start), session);
}

// What the clone's container has to say from the snapshot on.
vm::SessionResult follow(base::Fd monitor, const vm::VmRecord& clone, bool detach) {
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kContainer;
  start.detach = detach;
  start.tty = clone.tty && !detach;
  start.use_stdin = clone.open_stdin && !detach;
  start.use_stdout = !detach;
  start.use_stderr = !clone.tty && !detach;
  return session_of(std::move(monitor), std::move(start));
}

vm::SessionResult run_command(const vm::VmManager& manager, const vm::VmRecord& clone,
                              const std::string& command) {
  vm::ExecOptions exec;
  exec.command = {"/bin/sh", "-c", command};
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kExec;
  start.process_json = manager.exec_process(clone, exec);
  return session_of(manager.connect(clone), std::move(start));
}

Flags parse(const Invocation& invocation) {
  Flags flags;
  Options options;
  options.value("snapshot", "TAG", "The snapshot", flags.tag);
  options.value("name", "NAME", "Of the clone; without it one is made up", flags.clone.name);
  options.flag("detach,d", flags.detach, "Print the clone's ID and return when it runs");
  options.value("exec", "COMMAND",
                "Run a line of shell in the clone's container, and end with its status; without -d "
                "the clone is removed then",
                flags.command);
  options.flag("rm", flags.clone.remove, "Remove the clone when its container ends");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  if (flags.tag.empty()) throw UsageError("the snapshot has to be named: --snapshot TAG");
  return flags;
}

}  // namespace

int snapshot_run(Invocation& invocation) {
  const Flags flags = parse(invocation);
  const InterruptGuard interrupt;
  vm::VmManager manager = invocation.manager();
  vm::SnapshotStore snapshots(manager);
  // Held until the clone runs, for then its monitor holds it too.
  const vm::OpenSnapshot snapshot = snapshots.open(flags.tag);
  snapshots.verify(snapshot);
  const vm::VmRecord clone = snapshots.make_clone(snapshot, flags.clone);
  base::Rollback rollback;
  rollback.push([&] { manager.remove(manager.store().read(clone.id).take(), true, 0); });

  const base::SignalMask until_attached({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2});
  interrupt.cancellation().check();
  base::Fd monitor = manager.start(clone, invocation.start_ns);
  if (flags.command.empty() && !flags.detach) {
    rollback.commit();
    return exit_status(invocation, follow(std::move(monitor), clone, false));
  }
  // A clone that does not get as far as running is of no use to anybody.
  const vm::SessionResult started = follow(std::move(monitor), clone, true);
  if (started.end != vm::SessionResult::End::kStarted) return exit_status(invocation, started);
  if (flags.detach) {
    rollback.commit();
    print(clone.id + '\n');
  }
  // Without -d the rollback removes the clone, whatever its command came to.
  return flags.command.empty()
             ? 0
             : exit_status(invocation, run_command(manager, clone, flags.command));
}

}  // namespace cli
