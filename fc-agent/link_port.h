#pragma once

#include <chrono>
#include <string>

#include "base/fd.h"
#include "fc-agent/uevents.h"

namespace fc_agent {

// The virtio-serial port that carries the guest link. Ports are told apart by name: their numbers
// depend on what else the VMM was given.
inline constexpr const char* kLinkPortName = "fcvm.link";

// Waits until the port is there and the host side has opened it, and opens it (non-blocking).
// Throws base::Error, ETIMEDOUT among them. `sys_directory` and `dev_directory` are /sys/class/virtio-ports
// and /dev.
base::Fd open_link_port(Uevents& uevents, const std::string& sys_directory,
                        const std::string& dev_directory, std::chrono::milliseconds timeout);

// Name of the device below /dev, empty when there is none yet.
std::string find_port(const std::string& sys_directory, const std::string& port_name);

}  // namespace fc_agent
