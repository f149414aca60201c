#pragma once

#include <memory>

#include "base/event_loop.h"
#include "hypervisor/hypervisor.h"

namespace hypervisor::qemu {

// `config` has been checked, and its accel is not kAuto. Throws base::Error when the VMM cannot be
// started.
std::unique_ptr<Machine> start_machine(base::EventLoop& loop, const Capabilities& capabilities,
                                       MachineConfig config, MachineEvents events);

}  // namespace hypervisor::qemu
