#include "hypervisor/fake/fake.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <utility>

#include "base/error.h"
#include "hypervisor/detail/bounded_log.h"
#include "hypervisor/detail/watched_link.h"
#include "wire/mux_link.h"

namespace hypervisor::fake {

using std::chrono::milliseconds;
using Reason = MachineExit::Reason;

struct FakeHypervisor::Shared {
  std::vector<FakeMachine*> machines;
};

namespace {

class Instance final : public Machine, public FakeMachine {
 public:
  Instance(base::EventLoop& loop, MachineConfig config, MachineEvents events,
           std::function<void(Instance*)> on_destroyed)
      : loop_(loop), events_(std::move(events)), on_destroyed_(std::move(on_destroyed)) {
    config_ = std::move(config);
    paused_ = config_.restore.has_value();
    if (!config_.restore) memory_ = base::make_memfd("fake-memory", config_.mem_mib << 20);
    stats_answer.guest_mem_bytes = config_.mem_mib << 20;
    base::SocketPair link = base::make_socket_pair(SOCK_STREAM);
    base::SocketPair console = base::make_socket_pair(SOCK_STREAM);
    guest_end_ = std::move(link.second);
    console_end_ = std::move(console.second);
    console_.emplace(loop, std::move(console.first), config_.console_log, kMaxConsoleLogBytes,
                     kConsoleTailBytes);
    observer_->on_ready = [this] {
      ready_ = true;
      boot_watchdog_.reset();
    };
    wire::MuxOptions mux;
    mux.epoch = config_.link_epoch;
    link_ = watch_link(wire::make_mux_link(loop, std::move(link.first), mux), observer_);
    boot_watchdog_ = loop.after(config_.boot_deadline, [this] {
      end(Reason::kBootTimeout,
          base::cat("the guest did not answer within ", config_.boot_deadline.count(), " ms"));
    });
  }

  ~Instance() override {
    *alive_ = false;
    observer_->on_ready = nullptr;
    on_destroyed_(this);
  }

  MachineState state() const override {
    if (exit_) return MachineState::kEnded;
    if (paused_) return MachineState::kPaused;
    return ready_ ? MachineState::kRunning : MachineState::kStarting;
  }
  pid_t vmm_pid() const override { return 0; }
  std::unique_ptr<wire::Link> take_guest_link() override { return std::move(link_); }

  void pause(milliseconds deadline, Completion done) override {
    operate("pause", deadline, std::move(done), [this] { paused_ = true; });
  }
  void resume(milliseconds deadline, Completion done) override {
    operate("resume", deadline, std::move(done), [this] { paused_ = false; });
  }
  void set_balloon_target(std::uint64_t mem_mib, milliseconds deadline, Completion done) override {
    operate(base::cat("balloon ", mem_mib), deadline, std::move(done), [this, mem_mib] {
      const std::uint64_t wanted = std::min(mem_mib, config_.mem_mib);
      stats_answer.balloon_bytes = (config_.mem_mib - wanted) << 20;
    });
  }
  void stats(milliseconds deadline, StatsCompletion done) override {
    operate(
        "stats", deadline,
        [this, done = std::move(done)](base::Result<void> result) {
          if (result.ok()) {
            done(stats_answer);
          } else {
            done(result.error());
          }
        },
        [] {});
  }
  void save(base::Fd state, milliseconds deadline, Completion done) override {
    const auto file = std::make_shared<base::Fd>(std::move(state));
    operate("save", deadline, std::move(done),
            [this, file] { base::write_all(*file, "state of " + config_.vm_id); });
  }
  const base::Fd* memory_file() const override { return config_.restore ? nullptr : &memory_; }

  void quit(milliseconds deadline) override {
    if (exit_) return;
    operations_.emplace_back("quit");
    if (answer == Answer::kSucceed) {
      end(Reason::kQuit, {});
    } else {
      quit_deadline_ = loop_.after(deadline, [this] { end(Reason::kQuit, {}); });
    }
  }
  void kill() override {
    if (exit_) return;
    operations_.emplace_back("kill");
    end(Reason::kKilled, {});
  }
  std::string console_tail() const override { return console_->tail(); }

  void print_on_console(std::string_view text) override {
    base::write_all(console_end_, text);
    console_->drain();
  }

  void end(Reason reason, std::string detail) override {
    if (exit_) return;
    exit_.emplace();
    exit_->reason = reason;
    exit_->detail = std::move(detail);
    exit_->console_tail = console_->tail();
    boot_watchdog_.reset();
    guest_end_.reset();
    loop_.post([this, alive = alive_] {
      if (*alive) finish_exit();
    });
  }

 private:
  struct Operation {
    Completion done;
    base::EventLoop::Registration deadline;
  };

  void operate(std::string name, milliseconds deadline, Completion done,
               std::function<void()> effect) {
    operations_.push_back(name);
    const std::uint64_t id = next_id_++;
    Operation& operation = pending_[id];
    operation.done = std::move(done);
    operation.deadline = loop_.after(deadline, [this, id, name] {
      finish(id, base::Error(ETIMEDOUT, "asking the VMM for", name));
    });
    if (answer == Answer::kNever && !exit_) return;
    const auto failing = failures.find(name);
    const bool refused = failing != failures.end() && failing->second-- > 0;
    const bool fails = answer == Answer::kFail || exit_ || refused;
    loop_.post([this, alive = alive_, id, name, fails, effect = std::move(effect)] {
      if (!*alive || !pending_.contains(id)) return;
      if (fails) {
        finish(id, base::Error(base::cat("the VMM refused ", name)));
      } else {
        effect();
        finish(id, {});
      }
    });
  }

  void finish(std::uint64_t id, base::Result<void> result) {
    const auto at = pending_.find(id);
    if (at == pending_.end()) return;
    const Completion done = std::move(at->second.done);
    pending_.erase(at);
    if (done) done(std::move(result));
  }

  void finish_exit() {
    const auto alive = alive_;
    while (!pending_.empty()) {
      finish(pending_.begin()->first, base::Error("the VMM has ended"));
      if (!*alive) return;
    }
    if (const auto on_exit = events_.on_exit) on_exit(*exit_);
  }

  base::EventLoop& loop_;
  MachineEvents events_;
  std::function<void(Instance*)> on_destroyed_;
  base::Fd memory_;
  base::Fd console_end_;
  std::optional<BoundedLog> console_;
  std::shared_ptr<LinkObserver> observer_ = std::make_shared<LinkObserver>();
  std::unique_ptr<wire::Link> link_;
  std::map<std::uint64_t, Operation> pending_;
  std::uint64_t next_id_ = 1;
  bool ready_ = false;
  bool paused_ = false;
  std::optional<MachineExit> exit_;
  base::EventLoop::Registration boot_watchdog_;
  base::EventLoop::Registration quit_deadline_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace

FakeHypervisor::FakeHypervisor() : shared_(std::make_shared<Shared>()) {
  capabilities.hypervisor = "fake";
  capabilities.usable = true;
  capabilities.tcg = true;
  capabilities.kvm_why_not = "a fake has no kvm";
  capabilities.balloon = true;
  capabilities.discard_flushes = true;
  capabilities.block_stats = true;
  capabilities.snapshots = true;
  capabilities.max_vcpus = 32;
}

FakeHypervisor::~FakeHypervisor() = default;

std::unique_ptr<Machine> FakeHypervisor::start(base::EventLoop& loop, MachineConfig config,
                                               MachineEvents events) const {
  if (!start_error.empty()) throw base::Error(start_error);
  check_config(config, capabilities);
  auto forget = [shared = shared_](Instance* gone) {
    std::erase(shared->machines, static_cast<FakeMachine*>(gone));
  };
  auto instance =
      std::make_unique<Instance>(loop, std::move(config), std::move(events), std::move(forget));
  shared_->machines.push_back(instance.get());
  return instance;
}

FakeMachine* FakeHypervisor::machine() const {
  return shared_->machines.empty() ? nullptr : shared_->machines.back();
}

}  // namespace hypervisor::fake
