#pragma once

#include <memory>
#include <string>

#include "hypervisor/hypervisor.h"

namespace hypervisor::qemu {

struct QemuOptions {
  std::string program = "qemu-system-x86_64";  // looked up in PATH unless it has a '/'
};

// The distribution's QEMU (7.2 and newer), controlled over QMP.
std::unique_ptr<Hypervisor> make_qemu(QemuOptions options = {});

}  // namespace hypervisor::qemu
