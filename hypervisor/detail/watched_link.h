#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "wire/link.h"

namespace hypervisor {

// What a machine wants to know of the guest link it has given away. Whoever owns the callbacks
// clears them when he ends.
struct LinkObserver {
  std::function<void()> on_ready;
  std::function<void()> on_gone;
  bool has_handler = false;
  bool ready = false;
  bool gone = false;  // down, or destroyed by its owner
};

// `link`, with `observer` told when it becomes ready and when it is gone, after its owner was told.
std::unique_ptr<wire::Link> watch_link(std::unique_ptr<wire::Link> link,
                                       std::shared_ptr<LinkObserver> observer);

}  // namespace hypervisor
