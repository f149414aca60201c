#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "hypervisor/hypervisor.h"
#include "vm/launch_plan.h"
#include "vm/monitor/client.h"
#include "vm/monitor/container_io.h"
#include "vm/monitor/exec_relay.h"
#include "vm/monitor/guest.h"
#include "vm/monitor/guest_milestones.h"
#include "vm/monitor/health.h"
#include "vm/monitor/log_file.h"
#include "vm/monitor_protocol.h"
#include "vm/vm_record.h"
#include "vm/vm_store.h"

namespace vm {

using Reply = std::function<void(std::string)>;

// What a life of a VM leaves to the next one.
struct Handover {
  state::RecordLock record_lock;
  base::Fd listener;
  std::chrono::milliseconds delay{0};  // before the VMM is started
  std::vector<Reply> restarted;        // answered when the container runs again
};

struct MonitorOptions {
  std::string vm_id;
  // An accepted connection of the command that starts the VM; may be invalid. The container starts
  // when this client has said how it attaches, or has gone.
  base::Fd first_client;
  std::int64_t command_start_ns = 0;  // CLOCK_MONOTONIC; milestones count from here

  // Present when this is not the first life of the VM in this process.
  std::optional<Handover> handover{};
  // Begins the next life; absent: the VM has only this one.
  std::function<void(Handover)> next_life{};
  // How long a VM that was saved is asked to go on.
  std::chrono::milliseconds go_on_limit{60'000};
  // A request that came to a life that is over: to the present one.
  std::function<void(const std::string& request, const Reply& reply)> forward{};
};

// One life of a VM, from one start to its end; vm/monitor/keeper.h strings them together. The VM's
// keeper: parent of the VMM, only writer of the record while it lives, owner of the guest
// link, server of monitor.sock. Event loop thread only.
//
//   boot ──agent ready──> start container ──exited──> shut down ──VMM gone──> finish
// Every way the VM can end leads through on_machine_exit() to finish(), once.
class Monitor {
 public:
  using MakeHypervisor =
      std::function<std::unique_ptr<hypervisor::Hypervisor>(const std::string& name)>;

  Monitor(base::EventLoop& loop, const VmStore& store, MakeHypervisor make_hypervisor,
          MonitorOptions options);
  ~Monitor();

  // Starts the VM; the event loop does the rest. Whatever fails ends up in the record and with the
  // clients, not here; throws base::Error when there is no VM to keep (no such record, somebody else
  // keeps it and does not let go before `lock_timeout`).
  void begin(std::chrono::milliseconds lock_timeout = state::Store::kLockTimeout);
  // The VM has ended, its end is recorded and every client has what is its due; the loop was
  // stopped then.
  bool done() const { return done_; }
  // SIGTERM to the monitor: as `fcvm stop`.
  void request_stop();
  void on_request(const std::string& text, const Reply& reply);

 private:
  struct Attached {
    std::unique_ptr<wire::MessageStream> control;
    bool started_sent = false;
    bool end_sent = false;
    bool gone = false;
  };

  void take_record(std::chrono::milliseconds lock_timeout);
  void begin_launch();
  void launch();
  void listen();
  void add_client(base::Fd socket);
  void milestone(const std::string& name);
  std::int64_t since_command_us() const;
  void save();

  // Clients.
  void on_process(ClientProcess process);
  void attach(ClientProcess process);
  void exec(ClientProcess process);
  void kill(const std::string& text, const MonitorRequest& request, const Reply& reply);
  void pause(const std::string& text, const Reply& reply);
  void unpause(const Reply& reply);
  void stats(const std::string& text, const Reply& reply);
  void answer_stats(const Reply& reply);
  void on_attached_command(std::string_view message);
  void sweep_clients();

  // The guest.
  void on_boot_event(const wire::BootEvent& event);
  void start_container();
  void on_container_event(std::string_view message);
  void container_ended(int exit_code, const std::string& error);
  void stop(const MonitorRequest& request);
  void signal_container(int signal);
  void resume_machine(std::function<void(const std::string& error)> done);
  void expect_within(std::chrono::seconds deadline, const std::string& what);
  bool start_decided() const;
  void serve_early();
  // Whether what clients ask of the guest has to wait.
  bool must_wait() const { return saving_ != nullptr || !start_decided(); }

  // Snapshots (monitor_snapshot.cc).
  struct Saving;
  void save_to(const std::string& text, const MonitorRequest& request, const Reply& reply);
  void next_saving_step(const char* point, void (Monitor::*step)());
  void bring_to_rest();
  void write_snapshot();
  void copy_memory();
  void all_is_saved();
  void go_on_after_saving(const std::string& error);
  void resume_after_saving();
  void thaw_after_saving();
  void saving_over(std::string error);
  void prepare_restore(hypervisor::MachineConfig& config);
  void restore();
  void identify_clone();
  void thaw_clone();
  void container_runs();

  // The end.
  void shut_down();
  void on_machine_exit(const hypervisor::MachineExit& exit);
  void finish();
  void tell_the_end();
  void send_end(Attached& client) const;
  void leave_when_done();
  MonitorReply end_reply() const;

  // The container's health (monitor_health.cc).
  void begin_health();
  void check_health(const Reply& reply);

  // Further lives (monitor_lives.cc).
  void restart(const MonitorRequest& request, const Reply& reply);
  void rename(const MonitorRequest& request, const Reply& reply);
  bool lives_again() const;
  void end_delay();
  void answer_restarted(const std::string& error);
  void hand_over();

  base::EventLoop& loop_;
  const VmStore& store_;
  MakeHypervisor make_hypervisor_;
  std::unique_ptr<hypervisor::Hypervisor> hypervisor_;
  MonitorOptions options_;
  VmPaths paths_;
  VmRecord record_;
  LaunchPlan plan_;
  std::optional<state::RecordLock> record_lock_;
  std::unique_ptr<LogFile> log_;
  std::unique_ptr<ContainerIo> io_;
  std::unique_ptr<hypervisor::Machine> machine_;
  std::unique_ptr<Guest> guest_;
  std::optional<GuestMilestones> guest_milestones_;  // from the VMM's start on
  std::unique_ptr<HealthMonitor> health_;
  std::unique_ptr<wire::MessageStream> container_;  // control stream of the container's process
  std::shared_ptr<Saving> saving_;                  // while a snapshot is being made
  base::Fd snapshot_in_use_;                        // the lock on the one this life began with
  base::Fd listener_;
  base::EventLoop::Registration listener_watch_;
  std::list<std::unique_ptr<Client>> clients_;
  std::list<Attached> attached_;
  std::list<std::unique_ptr<ExecRelay>> execs_;
  std::vector<Reply> waiting_;                  // kWait and kStop, for the end
  std::vector<Reply> restarting_;               // kRestart, for the next life
  std::vector<Reply> restarted_;                // kRestart of the life before
  std::optional<int> last_exit_code_;           // of the life before
  base::EventLoop::Registration launch_timer_;  // while the start is delayed
  std::chrono::milliseconds delay_{0};
  base::EventLoop::Clock::time_point began_{};
  // Came before it was known whether the container runs.
  std::list<ClientProcess> early_execs_;
  std::vector<std::pair<std::string, Reply>> early_requests_;
  base::EventLoop::Registration start_deadline_;
  base::EventLoop::Registration stop_timer_;
  base::EventLoop::Registration
      step_deadline_;  // of what the guest is doing before the container runs
  base::EventLoop::Registration link_timer_;
  base::EventLoop::Clock::time_point kill_at_{};  // when stopping_
  int stop_signal_ = 0;                           // when stopping_: what the container was sent
  VmStats last_stats_;
  std::vector<int> signals_while_paused_;  // the container gets them when it goes on

  bool restored_ = false;          // this life began with a snapshot
  bool container_frozen_ = false;  // the guest stands still after a save: it thaws when it goes on
  bool agent_ready_ = false;
  bool keeps_data_ = false;    // a disk that outlives the VM is mounted: it has to be flushed
  bool guest_trusted_ = true;  // false: it broke the protocol, so nothing is asked of it any more
  bool first_client_done_ = false;  // it has attached, or has gone, or there was none
  bool container_asked_ = false;    // the guest was told to start it
  bool container_over_ = false;     // it has exited or never ran
  bool output_over_ = false;
  bool stopping_ = false;
  bool ran_ = false;  // the container was started
  bool launched_ = false;
  bool stop_wanted_ = false;     // a user's: no policy starts it again
  bool restart_wanted_ = false;  // a user's
  bool handed_over_ = false;     // to the next life
  bool shutting_down_ = false;
  bool finished_ = false;
  bool done_ = false;
  int fail_code_ = 0;             // 125, 126, 127 when the container never ran
  std::uint16_t start_rows_ = 0;  // of the container's terminal, as the first client has it
  std::uint16_t start_columns_ = 0;
};

}  // namespace vm
