// A hypervisor without a VMM, for component tests of what is above: the machine's guest is the other
// end of its guest link, which the test holds.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/fd.h"
#include "hypervisor/hypervisor.h"

namespace hypervisor::fake {

class FakeMachine;

// What the test and the machines share. Belongs to the event loop's thread.
class FakeHypervisor final : public Hypervisor {
 public:
  FakeHypervisor();
  ~FakeHypervisor() override;

  Capabilities probe() const override { return capabilities; }
  std::string version() const override { return "1.0"; }
  std::map<std::string, std::string> snapshot_requirements(Accel) const override {
    return {{"hypervisor", "fake 1.0"}};
  }
  std::string why_not_starting(Accel) const override { return capabilities.why_not; }
  // Keeps the promises of the interface, the boot watchdog included. console_log is written when
  // it is named.
  std::unique_ptr<Machine> start(base::EventLoop& loop, MachineConfig config,
                                 MachineEvents events) const override;

  // The machine started last that still exists, else nullptr.
  FakeMachine* machine() const;

  Capabilities capabilities;  // what probe() answers; to be changed at will
  std::string start_error;    // when set, start() throws it

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

// The test's side of a machine. Exists as long as the machine does.
class FakeMachine {
 public:
  virtual ~FakeMachine() = default;

  const MachineConfig& config() const { return config_; }
  // The guest's end of the guest link, a stream socket; once.
  base::Fd take_guest_end() { return std::move(guest_end_); }
  // The operations asked for so far: "pause", "resume", "balloon 256", "stats", "save", "quit",
  // "kill".
  const std::vector<std::string>& operations() const { return operations_; }

  // What operations do from now on: succeed (the default), fail with an error, or never answer (their
  // deadline then ends them).
  enum class Answer { kSucceed, kFail, kNever };
  Answer answer = Answer::kSucceed;
  // By operation: how often it fails before it does as `answer` says.
  std::map<std::string, int> failures;
  MachineStats stats_answer;

  virtual void print_on_console(std::string_view text) = 0;
  // The VMM ends: the link's guest end is closed if the test has not taken it, on_exit follows from
  // the event loop.
  virtual void end(MachineExit::Reason reason, std::string detail = {}) = 0;

 protected:
  MachineConfig config_;
  base::Fd guest_end_;
  std::vector<std::string> operations_;
};

}  // namespace hypervisor::fake
