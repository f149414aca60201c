#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fc_agent {

// Small settings of the running kernel. All throw base::Error.

void set_host_name(const std::string& name);
// CLOCK_REALTIME, nanoseconds since the epoch.
void set_wall_clock(std::int64_t since_epoch_ns);
// Adds `bytes` to the kernel's random pool and credits all of their bits (RNDADDENTROPY, random(4)).
void add_entropy(std::string_view bytes);
// Makes the kernel draw a new key for its generator from the pool now (RNDRESEEDCRNG): what was added
// before decides about every byte handed out from here on.
void reseed_random();
// Brings the loopback interface up; the kernel gives it its addresses then.
void bring_loopback_up();

// Monotonic time since the guest's boot, microseconds: the clock of wire::BootEvent.
std::int64_t monotonic_us();

}  // namespace fc_agent
