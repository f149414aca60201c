#include "hypervisor/detail/watched_link.h"

#include <utility>

namespace hypervisor {
namespace {

void tell_ready(const std::shared_ptr<LinkObserver>& observer) {
  if (std::exchange(observer->ready, true)) return;
  if (const auto on_ready = observer->on_ready) on_ready();
}

void tell_gone(const std::shared_ptr<LinkObserver>& observer) {
  if (std::exchange(observer->gone, true)) return;
  if (const auto on_gone = observer->on_gone) on_gone();
}

class WatchedLink final : public wire::Link {
 public:
  WatchedLink(std::unique_ptr<wire::Link> inner, std::shared_ptr<LinkObserver> observer)
      : inner_(std::move(inner)), observer_(std::move(observer)) {}
  ~WatchedLink() override {
    inner_.reset();
    tell_gone(observer_);
  }

  void set_handler(Handler handler) override {
    observer_->has_handler = true;
    const auto observer = observer_;
    Handler outer;
    // In both closures the owner may destroy the link, and the closure with it.
    outer.on_ready = [observer, on_ready = std::move(handler.on_ready)] {
      const auto kept = observer;
      if (on_ready) on_ready();
      tell_ready(kept);
    };
    outer.on_stream = std::move(handler.on_stream);
    outer.on_renewed = std::move(handler.on_renewed);
    outer.on_down = [observer, on_down = std::move(handler.on_down)](std::string why) {
      const auto kept = observer;
      if (on_down) on_down(std::move(why));
      tell_gone(kept);
    };
    inner_->set_handler(std::move(outer));
    if (inner_->ready()) tell_ready(observer);
  }

  std::unique_ptr<wire::Stream> open(std::string_view service, std::string_view argument) override {
    return inner_->open(service, argument);
  }

  bool ready() const override { return inner_->ready(); }
  void suspend(std::function<void()> done) override { inner_->suspend(std::move(done)); }
  void resume() override { inner_->resume(); }

 private:
  std::unique_ptr<wire::Link> inner_;
  std::shared_ptr<LinkObserver> observer_;
};

}  // namespace

std::unique_ptr<wire::Link> watch_link(std::unique_ptr<wire::Link> link,
                                       std::shared_ptr<LinkObserver> observer) {
  return std::make_unique<WatchedLink>(std::move(link), std::move(observer));
}

}  // namespace hypervisor
