#include "hypervisor/qemu/migration.h"

#include <cerrno>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

namespace hypervisor::qemu {
namespace {

constexpr char kStateFdName[] = "fcvm-state";

}  // namespace

void Migration::begin(std::chrono::milliseconds deadline, Completion done,
                      std::function<void()> next) {
  if (done_) {
    loop_.post([done = std::move(done)] {
      done(base::Error("the VMM is saving or loading a state already"));
    });
    return;
  }
  deadline_ = deadline;
  done_ = std::move(done);
  timer_ = loop_.after(deadline, [this] {
    qmp_.execute("migrate_cancel", nullptr, deadline_, nullptr);
    finish(base::Error(ETIMEDOUT, "asking the VMM for its state"));
  });
  const nlohmann::json capabilities = {
      {"capabilities",
       {{{"capability", "x-ignore-shared"}, {"state", true}},
        {{"capability", "events"}, {"state", true}}}},
  };
  qmp_.execute("migrate-set-capabilities", capabilities, deadline, then(std::move(next)));
}

QmpClient::Reply Migration::then(std::function<void()> next) {
  return [this, next = std::move(next)](const base::Error* error, const nlohmann::json&) {
    if (!done_) return;
    if (error != nullptr) {
      finish(*error);
    } else if (next) {
      next();
    }
  };
}

void Migration::save(base::Fd state, std::chrono::milliseconds deadline, Completion done) {
  const auto file = std::make_shared<base::Fd>(std::move(state));
  begin(deadline, std::move(done), [this, file] {
    qmp_.execute_with_fd("getfd", {{"fdname", kStateFdName}}, std::move(*file), deadline_,
                         then([this] {
                           qmp_.execute("migrate", {{"uri", base::cat("fd:", kStateFdName)}},
                                        deadline_, then(nullptr));
                         }));
  });
}

void Migration::load(int inherited_fd, std::chrono::milliseconds deadline, Completion done) {
  begin(deadline, std::move(done), [this, inherited_fd] {
    qmp_.execute("migrate-incoming", {{"uri", base::cat("fd:", inherited_fd)}}, deadline_,
                 then(nullptr));
  });
}

void Migration::on_event(const nlohmann::json& data) {
  if (!done_ || !data.is_object()) return;
  const std::string status = data.value("status", std::string());
  if (status == "completed") {
    finish({});
  } else if (status == "failed" || status == "cancelled") {
    finish(base::Error(base::cat("the VMM could not write or read its state: ", status)));
  }
}

void Migration::fail(const base::Error& error) {
  if (done_) finish(error);
}

void Migration::finish(base::Result<void> result) {
  timer_.reset();
  if (const auto done = std::exchange(done_, nullptr)) done(std::move(result));
}

}  // namespace hypervisor::qemu
