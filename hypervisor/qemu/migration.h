#pragma once

#include <chrono>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/event_loop.h"
#include "base/fd.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/qemu/qmp_client.h"

namespace hypervisor::qemu {

// QEMU's migration, used to write a machine's device state to a file and to load it, without the
// guest's memory (x-ignore-shared: the memory's file is our concern). One at a time. Loop thread.
class Migration {
 public:
  Migration(base::EventLoop& loop, QmpClient& qmp) : loop_(loop), qmp_(qmp) {}

  void save(base::Fd state, std::chrono::milliseconds deadline, Completion done);
  // `inherited_fd` is the state's number in the VMM. When this fails QEMU mostly ends.
  void load(int inherited_fd, std::chrono::milliseconds deadline, Completion done);

  // An event MIGRATION.
  void on_event(const nlohmann::json& data);
  // The VMM has ended.
  void fail(const base::Error& error);

 private:
  void begin(std::chrono::milliseconds deadline, Completion done, std::function<void()> next);
  // Runs `next` when the command has succeeded.
  QmpClient::Reply then(std::function<void()> next);
  void finish(base::Result<void> result);

  base::EventLoop& loop_;
  QmpClient& qmp_;
  std::chrono::milliseconds deadline_{0};
  Completion done_;
  base::EventLoop::Registration timer_;
};

}  // namespace hypervisor::qemu
