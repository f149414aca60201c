#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "base/event_loop.h"
#include "base/log.h"
#include "base/rollback.h"
#include "base/signals.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/run_flags.h"
#include "cli/timings.h"
#include "vm/monitor_client.h"

namespace cli {
namespace {

// --cidfile: made first, so that a file that cannot be made fails before anything is done.
base::Fd make_cidfile(const std::string& path, base::Rollback& rollback) {
  if (path.empty()) return {};
  base::Fd file = base::try_open_file(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
  if (!file) throw UsageError(base::Error(errno, "making the ID file", path));
  rollback.push([path] { ::unlink(path.c_str()); });
  return file;
}

// The monitor's milestones, while it is there to be asked: with --rm its record goes with it.
std::map<std::string, std::int64_t> monitor_milestones(const vm::VmManager& manager,
                                                       const vm::VmRecord& record) {
  vm::MonitorRequest request;
  request.op = vm::MonitorRequest::Op::kTimings;
  return vm::ask_monitor(manager.connect(record), request, std::chrono::seconds(5)).timings_us;
}

wire::ProcessStart process_start(const vm::RunOptions& run) {
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kContainer;
  start.detach = run.detach;
  start.tty = run.tty && !run.detach;
  start.use_stdin = run.interactive && !run.detach;
  start.use_stdout = !run.detach;
  start.use_stderr = !run.detach && !run.tty;
  return start;
}

struct Wanted {
  vm::RunOptions run;
  image::Reference reference;
  image::EnsureOptions ensure;
};

Wanted parse(const Invocation& invocation) {
  RunFlags flags;
  Options options;
  flags.declare(options);
  const auto arguments = invocation.parse(options, Order::kBeforeArguments);
  try {
    Wanted wanted;
    wanted.run = flags.finish(arguments, host_environment());
    wanted.reference = image::parse_reference(wanted.run.image);
    wanted.ensure = flags.ensure_options();
    return wanted;
  } catch (const base::Error& error) {
    throw UsageError(error);
  }
}

// The image, and in `wanted` the name it has here.
image::ImageDisk take_image(const vm::VmManager& manager, Wanted& wanted,
                            const base::Cancellation& cancellation) {
  ProgressDisplay progress(std::chrono::seconds(2));
  wanted.ensure.progress = progress.callback();
  wanted.ensure.cancellation = &cancellation;
  image::ImageDisk image =
      image::ImageStore(manager.store().data()).ensure(wanted.reference, wanted.ensure);
  if (!image.names.empty()) wanted.run.image = image.names.front();
  return image;
}

}  // namespace

int podman_create(Invocation& invocation) {
  Wanted wanted = parse(invocation);
  const vm::RunOptions& run = wanted.run;
  const InterruptGuard interrupt;
  vm::VmManager manager = invocation.manager();
  base::Rollback rollback;
  const base::Fd cidfile = make_cidfile(run.cidfile, rollback);
  image::ImageDisk image = take_image(manager, wanted, interrupt.cancellation());
  const vm::VmRecord record = manager.create(run, image);
  // From here on the record says that it is used (vm/image_use.h).
  image.in_use.reset();
  if (cidfile) base::write_all(cidfile, record.id);
  // Whatever happened until here is taken back by the next command.
  interrupt.cancellation().check();
  manager.keep_created(record);
  rollback.commit();
  print(record.id + '\n');
  return 0;
}

int podman_run(Invocation& invocation) {
  Wanted wanted = parse(invocation);
  const vm::RunOptions& run = wanted.run;
  Timings timings(invocation.start_ns);
  // Until the container is started a signal takes back what was begun; then it is the container's.
  const InterruptGuard interrupt;
  vm::VmManager manager = invocation.manager();
  base::Rollback rollback;
  const base::Fd cidfile = make_cidfile(run.cidfile, rollback);
  image::ImageDisk image = take_image(manager, wanted, interrupt.cancellation());
  timings.note("image");
  const vm::VmRecord record = manager.create(run, image);
  // From here on the record says that it is used (vm/image_use.h).
  image.in_use.reset();
  rollback.push([&] { manager.remove(record, true, 0); });
  timings.note("created");
  if (cidfile) base::write_all(cidfile, record.id);

  const base::SignalMask until_attached({SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2});
  interrupt.cancellation().check();
  base::Fd monitor = manager.start(record, invocation.start_ns);
  rollback.commit();

  base::EventLoop loop;
  vm::SessionOptions session;
  session.detach_keys = run.detach_keys;
  session.on_started = [&] {
    if (!run.timings) return;
    try {
      timings.add(monitor_milestones(manager, record));
    } catch (const base::Error& error) {
      // A container that has ended by now took its monitor along: the run itself is what counts.
      base::log_info(base::cat("milestones of the monitor: ", error.what()));
    }
  };
  const vm::SessionResult result =
      vm::run_session(loop, std::move(monitor), process_start(run), session);
  if (run.detach && result.end == vm::SessionResult::End::kStarted) print(record.id + '\n');
  const int status = exit_status(invocation, result);
  timings.note("returned");
  if (run.timings) print_error_text(timings.table());
  return status;
}

}  // namespace cli
