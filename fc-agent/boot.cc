#include "fc-agent/boot.h"

#include <sys/mount.h>

#include <exception>

#include "base/error.h"
#include "base/files.h"
#include "base/log.h"
#include "base/mount.h"
#include "fc-agent/crun.h"
#include "fc-agent/disks.h"
#include "fc-agent/guest_setup.h"
#include "fc-agent/mounts.h"
#include "fc-agent/podman.h"
#include "fc-agent/root_edits.h"
#include "fc-agent/uevents.h"

namespace fc_agent {
namespace {

constexpr const char* kSysBlock = "/sys/block";
constexpr const char* kUsualRootSerial = "root";

struct GaveUp {};

std::string folder_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

void write_plan_file(const wire::PlanFile& file) {
  base::make_directories(folder_of(file.path));
  base::write_file(file.path, file.content, static_cast<mode_t>(file.mode));
}

}  // namespace

Boot::Boot(base::EventLoop& loop, const Modules& modules,
           std::function<void(wire::BootEvent)> on_event)
    : loop_(loop), modules_(modules), on_event_(std::move(on_event)), thread_([this] { run(); }) {}

Boot::~Boot() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  plan_changed_.notify_all();
  thread_.join();
}

void Boot::give_plan(wire::BootPlan plan) {
  {
    const std::lock_guard lock(mutex_);
    plan_ = std::move(plan);
  }
  plan_changed_.notify_all();
}

void Boot::post(wire::BootEvent event) {
  event.since_start_us = monotonic_us();
  loop_.post([this, event = std::move(event)] { on_event_(event); });
}

void Boot::step(std::string_view name, const std::function<void()>& work) {
  current_step_ = name;
  work();
  wire::BootEvent event;
  event.step = current_step_;
  post(std::move(event));
}

void Boot::run() {
  wire::BootEvent end;
  end.kind = wire::BootEvent::Kind::kFailed;
  try {
    system_mounts_ = std::async(std::launch::async, mount_system);
    step("disk modules", [&] { modules_.load_stage(ModuleStage::kRoot); });
    // Not earlier: two threads that load modules hinder each other.
    container_modules_ =
        std::async(std::launch::async, [this] { modules_.load_stage(ModuleStage::kContainer); });
    loopback_ = std::async(std::launch::async, bring_loopback_up);
    // Looked for without waiting: a plan may name another disk as its root.
    if (const std::string device = find_disk(kSysBlock, kUsualRootSerial); !device.empty()) {
      step(kRootStep, [&] { prepare_root(device); });
    }
    wire::BootPlan plan;
    step("plan", [&] { plan = wait_for_plan(); });
    apply(plan);
    end.kind = wire::BootEvent::Kind::kReady;
  } catch (const GaveUp&) {
    return;
  } catch (const std::exception& error) {
    end.step = current_step_;
    end.message = error.what();
  }
  post(std::move(end));
}

wire::BootPlan Boot::wait_for_plan() {
  std::unique_lock lock(mutex_);
  const bool there =
      plan_changed_.wait_for(lock, kPlanTimeout, [this] { return cancelled_ || plan_; });
  if (cancelled_) throw GaveUp{};
  if (!there) throw base::Error(ETIMEDOUT, "waiting for the boot plan");
  return std::move(*plan_);
}

void Boot::prepare_root(const std::string& device) {
  base::make_directories(kNewRoot);
  base::mount_fs("/dev/" + device, kNewRoot, "ext4", MS_NOATIME);
  prepared_device_ = device;
}

void Boot::apply(const wire::BootPlan& plan) {
  step("settings", [&] {
    if (const auto level = base::parse_log_level(plan.log_level)) base::set_log_level(*level);
    if (plan.wall_clock_ns > 0) set_wall_clock(plan.wall_clock_ns);
    add_entropy(plan.entropy);
    if (!plan.host_name.empty()) set_host_name(plan.host_name);
  });
  Uevents uevents;
  step("root disk", [&] {
    const std::string device = wait_for_disk(uevents, kSysBlock, plan.root_serial, kDiskTimeout);
    if (device != prepared_device_) {
      if (!prepared_device_.empty()) base::unmount(kNewRoot, MNT_DETACH);
      prepare_root(device);
    }
    if (plan.grow_root_to_bytes > 0) {
      grow_ext4("/dev/" + prepared_device_, kNewRoot, plan.grow_root_to_bytes);
    }
    system_mounts_.get();
    switch_root(kNewRoot);
    protection_ = std::async(std::launch::async, [] { protect_crun(Crun().program); });
  });
  step("modules", [&] {
    for (const auto& name : plan.modules) modules_.load(name);
  });
  step("disks", [&] {
    for (const auto& disk : plan.disks) {
      const std::string device = wait_for_disk(uevents, kSysBlock, disk.serial, kDiskTimeout);
      mount_plan_disk(disk, "/dev/" + device);
    }
  });
  step("files", [&] {
    if (!plan.machine_id.empty()) {
      write_plan_file({.path = "/etc/machine-id", .content = plan.machine_id + "\n", .mode = 0444});
    }
    for (const auto& file : plan.files) write_plan_file(file);
  });
  step("network", [&] {
    loopback_.get();
    for (const auto& [name, value] : plan.sysctls) set_sysctl("/proc/sys", name, value);
  });
  step("container root", [&] {
    container_modules_.get();
    if (!plan.container.root.target.empty()) {
      mount_overlay(plan.container.root);
      apply_root_edits(plan.container.root.target, plan.container.root_edits);
    }
    if (!plan.container.podman.empty()) link_conmon(Podman());
    if (!plan.container.bundle.empty()) {
      base::make_directories(plan.container.bundle);
      base::write_file(plan.container.bundle + "/config.json", plan.container.config_json, 0600);
    }
    protection_.get();
  });
}

}  // namespace fc_agent
