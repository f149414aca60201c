#pragma once

#include <list>
#include <memory>

#include "base/event_loop.h"
#include "vm/monitor/monitor.h"
#include "vm/vm_store.h"

namespace vm {

// The lives of one VM in one process: one after another, each by a Monitor of its own. A life that
// is over stays until its clients have what is their due. Event loop thread only.
class Keeper {
 public:
  Keeper(base::EventLoop& loop, const VmStore& store, Monitor::MakeHypervisor make_hypervisor);

  // Throws what Monitor::begin() throws.
  void begin(MonitorOptions options);
  // Forgets lives that are done; false when none is left. The loop is stopped each time one is.
  bool alive();
  // SIGTERM to the monitor: as `fcvm stop`.
  void request_stop();

 private:
  base::EventLoop& loop_;
  const VmStore& store_;
  Monitor::MakeHypervisor make_hypervisor_;
  bool failed_ = false;                        // the next life could not begin
  std::list<std::unique_ptr<Monitor>> lives_;  // the last one is the present one
};

}  // namespace vm
