#include "vm/monitor/keeper.h"

#include <utility>

#include "base/error.h"
#include "base/log.h"

namespace vm {

Keeper::Keeper(base::EventLoop& loop, const VmStore& store, Monitor::MakeHypervisor make_hypervisor)
    : loop_(loop), store_(store), make_hypervisor_(std::move(make_hypervisor)) {}

void Keeper::begin(MonitorOptions options) {
  options.next_life = [this, id = options.vm_id](Handover handover) {
    MonitorOptions next;
    next.vm_id = id;
    next.handover = std::move(handover);
    try {
      begin(std::move(next));
    } catch (const base::Error& error) {
      // The next command finds a VM whose monitor has gone.
      base::log_error(base::cat("restarting: ", error.what()));
      failed_ = true;
      loop_.stop();
    }
  };
  options.forward = [this](const std::string& request, const Reply& reply) {
    if (!failed_) {
      lives_.back()->on_request(request, reply);
      return;
    }
    MonitorReply refusal;
    refusal.ok = false;
    refusal.error = "it could not be started again";
    reply(to_json(refusal));
  };
  auto life = std::make_unique<Monitor>(loop_, store_, make_hypervisor_, std::move(options));
  Monitor& monitor = *life;
  lives_.push_back(std::move(life));
  try {
    monitor.begin();
  } catch (const base::Error&) {
    lives_.pop_back();
    throw;
  }
}

bool Keeper::alive() {
  lives_.remove_if([](const auto& life) { return life->done(); });
  return !lives_.empty();
}

void Keeper::request_stop() {
  if (!lives_.empty()) lives_.back()->request_stop();
}

}  // namespace vm
