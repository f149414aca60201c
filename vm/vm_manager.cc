#include "vm/vm_manager.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <utility>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/process.h"
#include "vm/bundle.h"
#include "vm/monitor_client.h"
#include "vm/session.h"

namespace vm {
namespace {

// Answers of a monitor that does not have to ask its guest come at once; this is for a loaded host.
constexpr std::chrono::seconds kReplyDeadline{30};
// Beyond a stop's own time limit: SIGKILL, shutdown and removal inside the monitor.
constexpr std::chrono::seconds kStopGrace{60};

// From the VMM's start to the container's, by what the monitor allows each step.
constexpr std::chrono::seconds kStartLimit{300};

constexpr std::size_t kShortIdChars = 12;

base::Error no_such_vm(std::string_view name) {
  return base::Error(base::cat("no VM with name or ID ", base::quoted(name)))
      .set_hint("fcvm ls -a lists all VMs");
}

}  // namespace

VmManager::VmManager(const storage::DataDirectory& data) : store_(data) {
  reconcile(store_);
}

std::vector<VmRecord> VmManager::list() const {
  std::vector<VmRecord> vms = store_.list();
  std::erase_if(vms, [](const VmRecord& vm) {
    return vm.status == VmStatus::kCreating || vm.status == VmStatus::kRemoving;
  });
  return vms;
}

std::optional<VmRecord> VmManager::try_find(std::string_view name) const {
  const std::vector<VmRecord> vms = list();
  for (const auto& vm : vms) {
    if (vm.name == name || vm.id == name) return vm;
  }
  const VmRecord* found = nullptr;
  for (const auto& vm : vms) {
    if (name.empty() || !vm.id.starts_with(name)) continue;
    if (found != nullptr) {
      throw base::Error(
          base::cat("more than one VM has an ID that begins with ", base::quoted(name)))
          .set_hint("give more of the ID, or the name");
    }
    found = &vm;
  }
  if (found != nullptr) return *found;
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
  if (error == std::errc() && end == name.data() + name.size()) {
    for (const auto& vm : vms) {
      if (vm.has_monitor() && vm.monitor.pid == pid) return vm;
    }
  }
  return std::nullopt;
}

VmRecord VmManager::find(std::string_view name) const {
  std::optional<VmRecord> record = try_find(name);
  if (!record) throw no_such_vm(name);
  return *std::move(record);
}

base::Fd VmManager::start(const VmRecord& record, std::int64_t command_start_ns) {
  const VmPaths paths = store_.paths(record.id);
  base::SocketPair pair = base::make_socket_pair(SOCK_STREAM);
  const base::Fd log = base::open_file(paths.monitor_log, O_WRONLY | O_CREAT | O_APPEND, 0600);
  base::SpawnOptions spawn;
  spawn.argv = {base::find_own_program("fcvm-monitor"),
                "--data-dir",
                store_.data().root(),
                "--id",
                record.id,
                "--client-fd",
                "3"};
  if (command_start_ns != 0) {
    spawn.argv.insert(spawn.argv.end(), {"--since", std::to_string(command_start_ns)});
  }
  spawn.fds = {{log.get(), 2}, {pair.second.get(), 3}};
  spawn.new_session = true;
  spawn.working_directory = "/";
  base::ChildProcess monitor = base::ChildProcess::spawn(spawn);
  // It lives on after this command; init reaps it.
  monitor.release();
  base::fault_point("start.monitor");
  return std::move(pair.first);
}

base::Fd VmManager::connect(const VmRecord& record) const {
  base::Fd socket = base::try_connect_unix(store_.paths(record.id).monitor_socket);
  if (!socket) {
    const auto now = store_.read(record.id);
    throw base::Error(base::cat("VM ", base::quoted(record.name), " is ",
                                now.ok() ? to_string(now.value().status) : "gone",
                                ", not running"));
  }
  return socket;
}

namespace {

MonitorReply ask_checked(base::Fd monitor, const MonitorRequest& request, std::string_view verb,
                         const std::string& name) {
  MonitorReply reply = ask_monitor(std::move(monitor), request, kReplyDeadline);
  if (!reply.ok) throw base::Error(base::cat(verb, " ", base::quoted(name), ": ", reply.error));
  return reply;
}

// For a monitor that lives but cannot be reached by its socket (another XDG_RUNTIME_DIR, a run
// directory that was removed): true when it ended in time.
bool outlast_monitor(const base::ProcessId& monitor, int signal, std::chrono::milliseconds limit) {
  const base::Fd pidfd = base::open_process(monitor);
  if (!pidfd) return true;
  if (signal != 0) base::send_signal(pidfd, signal);
  return base::wait_for(pidfd.get(), POLLIN, limit);
}

}  // namespace

EndResult VmManager::end_of(const VmRecord& record) const {
  const auto now = store_.read(record.id);
  if (!now.ok()) return {std::nullopt, true};
  return {now.value().exit_code, false};
}

EndResult VmManager::stop(const VmRecord& record, std::optional<int> timeout_s,
                          bool even_paused) const {
  if (!record.has_monitor()) return {record.exit_code, false};
  const int seconds = timeout_s.value_or(record.stop_timeout_s);
  const auto limit = seconds < 0
                         ? std::chrono::milliseconds(-1)
                         : std::chrono::milliseconds(std::chrono::seconds(seconds) + kStopGrace);
  base::Fd socket = base::try_connect_unix(store_.paths(record.id).monitor_socket);
  if (!socket) {
    if (!outlast_monitor(record.monitor, SIGTERM, limit)) {
      throw base::Error(ETIMEDOUT, "waiting for the monitor of VM", record.name);
    }
    reconcile(store_);
    return end_of(record);
  }
  base::fault_point("stop.connected");
  MonitorRequest request;
  request.op = MonitorRequest::Op::kStop;
  request.timeout_s = timeout_s;
  request.even_paused = even_paused;
  const MonitorReply reply = ask_monitor(std::move(socket), request, limit);
  if (!reply.ok) {
    throw base::Error(base::cat("stopping VM ", base::quoted(record.name), ": ", reply.error));
  }
  return {reply.exit_code, reply.removed};
}

void VmManager::start_detached(const VmRecord& record) {
  if (record.has_monitor()) return;
  base::EventLoop loop;
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kContainer;
  start.detach = true;
  start.use_stdin = start.use_stdout = start.use_stderr = false;
  const SessionResult result = run_session(loop, this->start(record, 0), start, {});
  if (result.end == SessionResult::End::kFailed) {
    throw base::Error(base::cat("starting VM ", base::quoted(record.name), ": ", result.message));
  }
}

void VmManager::keep_created(VmRecord record) {
  const state::RecordLock lock = store_.records().lock_record(record.id);
  record.status = VmStatus::kCreated;
  store_.update(lock, record);
}

void VmManager::restart(const VmRecord& record, std::optional<int> timeout_s) {
  base::Fd socket;
  if (record.has_monitor()) {
    socket = base::try_connect_unix(store_.paths(record.id).monitor_socket);
  }
  if (socket) {
    MonitorRequest request;
    request.op = MonitorRequest::Op::kRestart;
    request.timeout_s = timeout_s;
    const int seconds = timeout_s.value_or(record.stop_timeout_s);
    const auto limit =
        seconds < 0
            ? std::chrono::milliseconds(-1)
            : std::chrono::milliseconds(std::chrono::seconds(seconds) + kStopGrace + kStartLimit);
    const MonitorReply reply = ask_monitor(std::move(socket), request, limit);
    if (!reply.ok) {
      throw base::Error(base::cat("restarting VM ", base::quoted(record.name), ": ", reply.error));
    }
    return;
  }
  stop(record, timeout_s);
  start_detached(store_.read(record.id).take());
}

void VmManager::rename(const VmRecord& record, const std::string& name) {
  if (record.name == name) return;
  const base::FileLock lock = store_.records().lock();
  check_name(name);
  if (record.has_monitor()) {
    MonitorRequest request;
    request.op = MonitorRequest::Op::kRename;
    request.name = name;
    const MonitorReply reply = ask_monitor(connect(record), request, kReplyDeadline);
    if (!reply.ok) {
      throw base::Error(base::cat("renaming VM ", base::quoted(record.name), ": ", reply.error));
    }
    return;
  }
  const state::RecordLock record_lock = store_.records().lock_record(record.id);
  VmRecord renamed = store_.read(record.id).take();
  if (renamed.has_monitor()) {
    throw base::Error(base::cat("VM ", base::quoted(record.name), " was started meanwhile"));
  }
  renamed.name = name;
  store_.update(record_lock, renamed);
}

void VmManager::kill(const VmRecord& record, int signal) const {
  MonitorRequest request;
  request.op = MonitorRequest::Op::kKill;
  request.signal = signal;
  const MonitorReply reply = ask_monitor(connect(record), request, kReplyDeadline);
  if (!reply.ok) {
    throw base::Error(
        base::cat("sending ", signal, " to VM ", base::quoted(record.name), ": ", reply.error));
  }
}

void VmManager::pause(const VmRecord& record) const {
  MonitorRequest request;
  request.op = MonitorRequest::Op::kPause;
  ask_checked(connect(record), request, "pausing VM", record.name);
}

void VmManager::unpause(const VmRecord& record) const {
  MonitorRequest request;
  request.op = MonitorRequest::Op::kUnpause;
  ask_checked(connect(record), request, "unpausing VM", record.name);
}

bool VmManager::check_health(const VmRecord& record) const {
  MonitorRequest request;
  request.op = MonitorRequest::Op::kHealth;
  // The check's own limit ends it.
  const MonitorReply reply = ask_monitor(connect(record), request, std::chrono::milliseconds(-1));
  if (!reply.ok) throw base::Error(base::cat("VM ", base::quoted(record.name), ": ", reply.error));
  return reply.exit_code == 0;
}

VmStats VmManager::stats(const VmRecord& record) const {
  MonitorRequest request;
  request.op = MonitorRequest::Op::kStats;
  return ask_checked(connect(record), request, "looking at VM", record.name)
      .stats.value_or(VmStats{});
}

int VmManager::wait(const VmRecord& record, const base::Cancellation* cancellation) const {
  if (record.has_monitor()) {
    if (base::Fd socket = base::try_connect_unix(store_.paths(record.id).monitor_socket)) {
      MonitorRequest request;
      request.op = MonitorRequest::Op::kWait;
      try {
        const MonitorReply reply =
            ask_monitor(std::move(socket), request, std::chrono::milliseconds(-1), cancellation);
        if (reply.exit_code) return *reply.exit_code;
      } catch (const base::Error& error) {
        if (error.errnum() != ECONNRESET) throw;
      }
    }
    // Unreachable, or killed meanwhile: its end is what counts, and the record tells what is known.
    outlast_monitor(record.monitor, 0, std::chrono::milliseconds(-1));
    reconcile(store_);
  }
  const auto now = store_.read(record.id);
  if (!now.ok()) throw no_such_vm(record.name);
  return now.value().exit_code.value_or(0);
}

void VmManager::remove(const VmRecord& record, bool force, std::optional<int> timeout_s) {
  if (record.has_monitor()) {
    if (!force) {
      throw base::Error(
          base::cat("VM ", base::quoted(record.name), " is ", to_string(record.status)))
          .set_hint("stop it first, or remove it with --force");
    }
    if (stop(record, timeout_s, true).removed) return;
  }
  // The monitor holds the lock until it has written its last word.
  state::RecordLock lock = store_.records().lock_record(record.id);
  auto now = store_.read(record.id);
  if (!now.ok()) {
    if (now.error().errnum() == ENOENT) {
      // Somebody else was faster; the lock's file was made anew by waiting for it.
      store_.records().remove(std::move(lock));
      return;
    }
    throw now.error();
  }
  if (now.value().has_monitor()) {
    throw base::Error(base::cat("VM ", base::quoted(record.name), " was started meanwhile"));
  }
  store_.destroy(std::move(lock), std::move(now).value());
}

bool VmManager::remove_damaged(std::string_view name) const {
  // As much of the ID as fcvm prints: a shorter word may well be the name of another VM.
  if (name.size() < kShortIdChars) return false;
  std::vector<std::string> ids = store_.damaged();
  std::erase_if(ids, [&](const std::string& id) { return !id.starts_with(name); });
  if (ids.size() != 1) return false;
  const std::string& id = ids.front();
  // A monitor that still runs holds it, and will write the record anew.
  state::RecordLock lock = store_.records().lock_record(id);
  if (store_.read(id).ok()) {
    throw base::Error(base::cat("the record of VM ", id, " was written anew meanwhile"));
  }
  std::vector<state::Problem> problems;
  store_.list(problems);
  for (const auto& problem : problems) {
    // Beside one that was set aside there may be one that is whole, for whoever can read it.
    if (problem.id == id && problem.kind != state::Problem::Kind::kDamaged) {
      throw base::Error(problem.reason);
    }
  }
  store_.destroy_damaged(std::move(lock));
  return true;
}

std::string VmManager::exec_process(const VmRecord& record, const ExecOptions& options) const {
  base::fault_point("exec.connected");
  const std::string base_text = base::read_file(store_.paths(record.id).exec_base);
  return make_exec_process(base_text, options);
}

bool VmManager::name_taken(const std::string& name) const {
  const std::vector<VmRecord> vms = store_.list();
  return std::any_of(vms.begin(), vms.end(), [&](const VmRecord& vm) { return vm.name == name; });
}

void VmManager::check_name(const std::string& name) const {
  for (const auto& vm : store_.list()) {
    if (vm.name != name) continue;
    throw base::Error(base::cat("the name ", base::quoted(name), " is taken by VM ",
                                vm.id.substr(0, kShortIdChars)))
        .set_hint("remove that VM (fcvm rm), rename it, or choose another name");
  }
}

}  // namespace vm
