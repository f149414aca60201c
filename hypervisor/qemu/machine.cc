#include "hypervisor/qemu/machine.h"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "base/log.h"
#include "hypervisor/detail/bounded_log.h"
#include "hypervisor/detail/watched_link.h"
#include "hypervisor/qemu/command_line.h"
#include "hypervisor/qemu/file_mapping.h"
#include "hypervisor/qemu/migration.h"
#include "hypervisor/qemu/proc_stats.h"
#include "hypervisor/qemu/qmp_client.h"
#include "hypervisor/qemu/vmm_process.h"
#include "wire/mux_link.h"

namespace hypervisor::qemu {
namespace {

using std::chrono::milliseconds;
using Reason = MachineExit::Reason;

constexpr std::size_t kDiagnosticsTailBytes = 8 * 1024;
// From the end of the control connection to that of the process: QEMU closes it last but for its
// exit handlers.
constexpr milliseconds kExitGrace{5000};
// For the guest link to deliver what the VMM had passed on before it ended.
constexpr milliseconds kLinkGrace{1000};
constexpr milliseconds kQueryDeadline{30000};
constexpr std::string_view kPanicMark = "Kernel panic - not syncing: ";

std::uint64_t number(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return 0;
  const auto at = object.find(key);
  return at != object.end() && at->is_number_unsigned() ? at->get<std::uint64_t>() : 0;
}

std::string text(const nlohmann::json& object, const char* key) {
  if (!object.is_object()) return {};
  const auto at = object.find(key);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

class QemuMachine final : public Machine {
 public:
  QemuMachine(base::EventLoop& loop, MachineConfig config, MachineEvents events, VmmProcess vmm)
      : loop_(loop),
        config_(std::move(config)),
        events_(std::move(events)),
        child_(std::move(vmm.child)),
        memory_(std::move(vmm.memory)),
        console_(loop, std::move(vmm.console), config_.console_log, kMaxConsoleLogBytes,
                 kConsoleTailBytes),
        diagnostics_(loop, std::move(vmm.diagnostics), {}, 0, kDiagnosticsTailBytes),
        alive_(std::make_shared<bool>(true)) {
    QmpClient::Handler handler;
    handler.on_ready = [this](const std::string&) { on_vmm_ready(); };
    handler.on_event = [this](const std::string& name, const nlohmann::json& data) {
      on_event(name, data);
    };
    handler.on_down = [this](const std::string& why) { on_control_down(why); };
    qmp_ = std::make_unique<QmpClient>(loop, std::move(vmm.qmp), std::move(handler));
    migration_ = std::make_unique<Migration>(loop, *qmp_);

    wire::MuxOptions mux;
    mux.side = wire::Side::kHost;
    mux.epoch = config_.link_epoch;
    observer_->on_ready = [this] { on_guest_ready(); };
    link_ = watch_link(wire::make_mux_link(loop, std::move(vmm.link), mux), observer_);

    ended_ = loop.watch(child_.pidfd().get(), EPOLLIN, [this](std::uint32_t) { on_vmm_ended(); });
    arm_boot_watchdog();
  }

  ~QemuMachine() override {
    *alive_ = false;
    observer_->on_ready = nullptr;
    observer_->on_gone = nullptr;
  }

  MachineState state() const override {
    if (exit_) return MachineState::kEnded;
    if (paused_) return MachineState::kPaused;
    if (config_.restore && !loaded_) return MachineState::kStarting;
    return guest_ready_ ? MachineState::kRunning : MachineState::kStarting;
  }

  pid_t vmm_pid() const override { return exit_ ? 0 : child_.pid(); }

  std::unique_ptr<wire::Link> take_guest_link() override { return std::move(link_); }

  void pause(milliseconds deadline, Completion done) override {
    request("stop", nullptr, deadline, true, std::move(done));
  }

  void resume(milliseconds deadline, Completion done) override {
    if (config_.restore && !loaded_ && !exit_) {
      // The boot watchdog sees to it that loading comes to an end.
      after_loading_.push_back([this, deadline, done = std::move(done)](const base::Error* error) {
        if (error == nullptr) {
          resume(deadline, done);
        } else if (done) {
          done(*error);
        }
      });
      return;
    }
    request("cont", nullptr, deadline, false, std::move(done));
  }

  void save(base::Fd state, milliseconds deadline, Completion done) override {
    if (!paused_) {
      complete_later(std::move(done), base::Error("only a paused machine can be saved"));
      return;
    }
    migration_->save(std::move(state), deadline, std::move(done));
  }

  const base::Fd* memory_file() const override { return config_.restore ? nullptr : &memory_; }

  void set_balloon_target(std::uint64_t mem_mib, milliseconds deadline, Completion done) override {
    if (!config_.balloon || mem_mib == 0) {
      complete_later(std::move(done),
                     base::Error(config_.balloon ? "a balloon cannot take all memory"
                                                 : "this VM was started without a balloon"));
      return;
    }
    const std::uint64_t bytes = std::min(mem_mib, config_.mem_mib) << 20;
    request("balloon", {{"value", bytes}}, deadline, std::nullopt, std::move(done));
  }

  void stats(milliseconds deadline, StatsCompletion done) override;

  void quit(milliseconds deadline) override {
    if (exit_) return;
    intend(Reason::kQuit);
    qmp_->execute("quit", nullptr, deadline, nullptr);
    quit_deadline_ = loop_.after(deadline, [this] { child_.kill(SIGKILL); });
  }

  void kill() override {
    if (exit_) return;
    intend(Reason::kKilled);
    child_.kill(SIGKILL);
  }

  std::string console_tail() const override { return console_.tail(); }

 private:
  struct StatsRequest {
    MachineStats stats;
    int replies_left = 0;
    std::optional<base::Error> error;
    StatsCompletion done;
  };

  // The first intention counts: a machine that is being killed for one reason is not later said to
  // have been killed for another.
  void intend(Reason reason, std::string why = {}) {
    if (reason_) return;
    reason_ = reason;
    why_ = std::move(why);
  }

  void arm_boot_watchdog() {
    boot_watchdog_ = loop_.after(config_.boot_deadline, [this] {
      // A machine that stands still cannot say hello.
      if (paused_) return arm_boot_watchdog();
      intend(Reason::kBootTimeout, base::cat(qmp_->ready() ? "the guest did not answer within "
                                                           : "the VMM did not answer within ",
                                             config_.boot_deadline.count(), " ms"));
      child_.kill(SIGKILL);
    });
  }

  void on_guest_ready() {
    guest_ready_ = true;
    boot_watchdog_.reset();
  }

  void on_vmm_ready() {
    if (config_.restore) load();
    qmp_->execute("query-cpus-fast", nullptr, kQueryDeadline,
                  [this](const base::Error* error, const nlohmann::json& cpus) {
                    if (error != nullptr || !cpus.is_array()) return;
                    for (const auto& cpu : cpus) {
                      if (vcpu_threads_.size() == config_.vcpus) break;
                      vcpu_threads_.push_back(static_cast<pid_t>(number(cpu, "thread-id")));
                    }
                  });
  }

  void load() {
    const FileMapping memory = file_mapping_of(child_.pid(), config_.restore->memory);
    if (memory.private_bytes != config_.mem_mib << 20 || memory.shared_bytes != 0) {
      loading_failed(base::Error("the VMM has not mapped the snapshot's memory"));
      return;
    }
    migration_->load(InheritedFds{}.saved_state, config_.boot_deadline,
                     [this](const base::Result<void>& result) {
                       if (!result.ok()) {
                         loading_failed(result.error());
                         return;
                       }
                       loaded_ = true;
                       paused_ = true;
                       for (const auto& go_on : std::exchange(after_loading_, {})) go_on(nullptr);
                     });
  }

  void loading_failed(const base::Error& error) {
    // When QEMU ends by itself, its last words tell more.
    if (!exit_) {
      failed_load_ = base::cat("the snapshot could not be loaded: ", error.what());
      child_.kill(SIGKILL);
    }
    const auto alive = alive_;
    for (const auto& go_on : std::exchange(after_loading_, {})) {
      go_on(&error);
      if (!*alive) return;
    }
  }

  void on_event(const std::string& name, const nlohmann::json& data) {
    if (name == "MIGRATION") {
      migration_->on_event(data);
    } else if (name == "STOP") {
      paused_ = true;
    } else if (name == "RESUME") {
      paused_ = false;
    } else if (name == "SHUTDOWN") {
      on_shutdown(text(data, "reason"));
    } else if (name == "GUEST_PANICKED") {
      intend(Reason::kGuestPanic, "the guest's kernel panicked");
    } else if (name == "BLOCK_IO_ERROR") {
      base::log_warn(base::cat("VM ", config_.vm_id, ": I/O error on ", text(data, "node-name"),
                               ": ", text(data, "reason")));
    }
  }

  void on_shutdown(const std::string& reason) {
    if (reason == "guest-shutdown") {
      intend(Reason::kGuestShutdown, "the guest powered off");
    } else if (reason == "guest-panic") {
      intend(Reason::kGuestPanic, "the guest's kernel panicked");
    } else if (reason == "guest-reset" || reason == "subsystem-reset") {
      intend(Reason::kGuestReset, "the guest rebooted");
    } else if (reason == "host-signal") {
      intend(Reason::kVmmFailed, "the VMM was told to end by a signal");
    }
  }

  void on_control_down(const std::string& why) {
    control_down_ = why;
    // Nonsense instead of an end: the process will not go by itself.
    exit_grace_ = loop_.after(kExitGrace, [this] {
      intend(Reason::kVmmFailed, control_down_);
      child_.kill(SIGKILL);
    });
  }

  void on_vmm_ended() {
    const auto status = child_.try_wait();
    if (!status) return;
    const auto alive = alive_;
    ended_.reset();
    boot_watchdog_.reset();
    quit_deadline_.reset();
    console_.drain();
    diagnostics_.drain();
    // Events that arrived before the end say how it came; completions in there may destroy us.
    qmp_->drain();
    if (!*alive) return;
    exit_ = describe_end(*status);
    qmp_->close("the VMM has ended");
    if (!*alive) return;
    migration_->fail(base::Error("the VMM has ended"));
    if (!*alive) return;
    if (!after_loading_.empty()) loading_failed(base::Error("the VMM has ended"));
    if (!*alive) return;
    exit_grace_.reset();
    if (link_ != nullptr || !observer_->has_handler || observer_->gone) {
      loop_.post([this, alive] {
        if (*alive) deliver_exit();
      });
      return;
    }
    observer_->on_gone = [this, alive] {
      // Not from inside a callback of the link's owner.
      loop_.post([this, alive] {
        if (*alive) deliver_exit();
      });
    };
    link_grace_ = loop_.after(kLinkGrace, [this] { deliver_exit(); });
  }

  MachineExit describe_end(const base::ExitStatus& status) const {
    MachineExit end;
    end.vmm_status = status;
    end.console_tail = console_.tail();
    end.reason = reason_.value_or(Reason::kVmmFailed);
    end.detail = why_;
    const auto panic = end.console_tail.rfind(kPanicMark);
    if (end.reason == Reason::kGuestReset && panic != std::string::npos) {
      end.reason = Reason::kGuestPanic;
      const auto what = std::string_view(end.console_tail).substr(panic + kPanicMark.size());
      end.detail =
          base::cat("the guest's kernel panicked: ", last_line(what.substr(0, what.find('\n'))));
    }
    if (!reason_ && !failed_load_.empty()) {
      end.detail = failed_load_;
    } else if (!reason_) {
      end.detail = status.signal != 0
                       ? base::cat("the VMM was killed by signal ", status.signal)
                       : base::cat("the VMM ended by itself with status ", status.code);
      const std::string words = last_line(diagnostics_.tail());
      if (!words.empty()) end.detail += base::cat(": ", words);
    }
    return end;
  }

  void deliver_exit() {
    if (std::exchange(delivered_, true)) return;
    link_grace_.reset();
    if (const auto on_exit = events_.on_exit) on_exit(*exit_);
  }

  void complete_later(Completion done, base::Error error) {
    if (!done) return;
    loop_.post([alive = alive_, done = std::move(done), error = std::move(error)] {
      if (*alive) done(error);
    });
  }

  void request(const char* command, const nlohmann::json& arguments, milliseconds deadline,
               std::optional<bool> paused_then, Completion done) {
    qmp_->execute(command, arguments, deadline,
                  [this, paused_then, done = std::move(done)](const base::Error* error,
                                                              const nlohmann::json&) {
                    // The events STOP and RESUME may come after the reply.
                    if (error == nullptr && paused_then) paused_ = *paused_then;
                    if (!done) return;
                    if (error != nullptr) {
                      done(*error);
                    } else {
                      done({});
                    }
                  });
  }

  static void finish_stats(const std::shared_ptr<StatsRequest>& request) {
    if (--request->replies_left != 0) return;
    if (request->error) {
      request->done(*request->error);
    } else {
      request->done(std::move(request->stats));
    }
  }

  base::EventLoop& loop_;
  const MachineConfig config_;
  const MachineEvents events_;
  base::ChildProcess child_;
  base::Fd memory_;
  BoundedLog console_;
  BoundedLog diagnostics_;
  std::unique_ptr<QmpClient> qmp_;
  std::shared_ptr<LinkObserver> observer_ = std::make_shared<LinkObserver>();
  std::unique_ptr<wire::Link> link_;  // until it is taken
  std::vector<pid_t> vcpu_threads_;

  std::unique_ptr<Migration> migration_;
  std::vector<std::function<void(const base::Error*)>> after_loading_;  // resume()s that wait
  std::string failed_load_;

  bool guest_ready_ = false;
  bool loaded_ = false;  // with MachineConfig::restore
  bool paused_ = false;
  bool delivered_ = false;
  std::string control_down_;
  std::optional<Reason> reason_;
  std::string why_;
  std::optional<MachineExit> exit_;

  base::EventLoop::Registration ended_;
  base::EventLoop::Registration boot_watchdog_;
  base::EventLoop::Registration quit_deadline_;
  base::EventLoop::Registration exit_grace_;
  base::EventLoop::Registration link_grace_;
  std::shared_ptr<bool> alive_;  // false once destroyed, for callbacks that outlive us
};

void QemuMachine::stats(milliseconds deadline, StatsCompletion done) {
  auto request = std::make_shared<StatsRequest>();
  request->done = std::move(done);
  MachineStats& stats = request->stats;
  stats.guest_mem_bytes = config_.mem_mib << 20;
  if (!exit_) {
    stats.vmm_time = process_cpu_time(child_.pid());
    for (const pid_t thread : vcpu_threads_) {
      stats.vcpu_time += thread_cpu_time(child_.pid(), thread);
    }
  }
  struct stat memory {};
  if (config_.restore && !exit_) {
    stats.resident_bytes = file_mapping_of(child_.pid(), config_.restore->memory).resident_bytes;
  } else if (::fstat(memory_.get(), &memory) == 0) {
    // Blocks of a memfd are the pages it holds.
    stats.resident_bytes = static_cast<std::uint64_t>(memory.st_blocks) * 512;
  }

  request->replies_left = config_.balloon ? 2 : 1;
  qmp_->execute("query-blockstats", {{"query-nodes", false}}, deadline,
                [this, request](const base::Error* error, const nlohmann::json& reply) {
                  if (error != nullptr) {
                    request->error = *error;
                  } else if (reply.is_array()) {
                    for (const DiskConfig& disk : config_.disks) {
                      const std::string node = block_node_name(disk.id);
                      for (const auto& entry : reply) {
                        if (text(entry, "node-name") != node || !entry.contains("stats")) continue;
                        const auto& counters = entry["stats"];
                        request->stats.disks.push_back(
                            {disk.id, number(counters, "rd_bytes"), number(counters, "wr_bytes"),
                             number(counters, "rd_operations"), number(counters, "wr_operations")});
                        break;
                      }
                    }
                  }
                  finish_stats(request);
                });
  if (!config_.balloon) return;
  qmp_->execute("query-balloon", nullptr, deadline,
                [request](const base::Error* error, const nlohmann::json& reply) {
                  // An error means that the guest's driver is not there yet: nothing is in it.
                  if (error == nullptr) {
                    const std::uint64_t actual = number(reply, "actual");
                    const std::uint64_t all = request->stats.guest_mem_bytes;
                    request->stats.balloon_bytes = actual < all ? all - actual : 0;
                  }
                  finish_stats(request);
                });
}

}  // namespace

std::unique_ptr<Machine> start_machine(base::EventLoop& loop, const Capabilities& capabilities,
                                       MachineConfig config, MachineEvents events) {
  VmmProcess vmm = spawn_vmm(config, capabilities.program, capabilities.private_mounts);
  return std::make_unique<QemuMachine>(loop, std::move(config), std::move(events), std::move(vmm));
}

}  // namespace hypervisor::qemu
