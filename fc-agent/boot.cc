#include "fc-agent/boot.h"

#include <fcntl.h>
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

// Whether the disk can be mounted before the root is there: below a file system that moves into the
// root with all that is on it, and of a type the kernel has.
bool is_early(const wire::BootPlan& plan, const wire::PlanDisk& disk) {
  return plan.modules.empty() && moves_with_the_system(disk.mount_point);
}

// A request costs an exit to the VMM, and what is read lies in the host's page cache anyway: with the
// kernel's 128 KiB the first start of crun takes half as many requests again.
void read_ahead(const std::string& device) {
  base::write_file(base::cat(kSysBlock, "/", device, "/queue/read_ahead_kb"), "1024");
}

void mount_disk(Uevents& uevents, const wire::PlanDisk& disk) {
  const std::string device = wait_for_disk(uevents, kSysBlock, disk.serial, kDiskTimeout);
  read_ahead(device);
  mount_plan_disk(disk, "/dev/" + device);
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
    early_disks_ = std::async(std::launch::async, [this] { mount_early_disks(); });
    // Not earlier: two threads that load modules hinder each other.
    container_modules_ =
        std::async(std::launch::async, [this] { modules_.load_stage(ModuleStage::kContainer); });
    loopback_ = std::async(std::launch::async, bring_loopback_up);
    // Looked for without waiting: a plan may name another disk as its root.
    if (const std::string device = find_disk(kSysBlock, kUsualRootSerial); !device.empty()) {
      step(kRootStep, [&] { prepare_root(device); });
    }
    step("plan", [&] { wait_for_plan(); });
    apply(wait_for_plan());
    end.kind = wire::BootEvent::Kind::kReady;
  } catch (const GaveUp&) {
    return;
  } catch (const std::exception& error) {
    end.step = current_step_;
    end.message = error.what();
  }
  post(std::move(end));
}

const wire::BootPlan& Boot::wait_for_plan() {
  std::unique_lock lock(mutex_);
  const bool there =
      plan_changed_.wait_for(lock, kPlanTimeout, [this] { return cancelled_ || plan_; });
  if (cancelled_) throw GaveUp{};
  if (!there) throw base::Error(ETIMEDOUT, "waiting for the boot plan");
  return *plan_;
}

void Boot::prepare_root(const std::string& device) {
  base::make_directories(kNewRoot);
  read_ahead(device);
  base::mount_fs("/dev/" + device, kNewRoot, "ext4", MS_NOATIME);
  prepared_device_ = device;
  protection_ = std::async(std::launch::async, [] {
                  protect_crun(base::cat(kNewRoot, Crun().program));
                }).share();
  // A lone processor has no time to spare for what may turn out useless.
  if (std::thread::hardware_concurrency() <= 1) return;
  warm_up_ = std::async(
      std::launch::async,
      [protection = protection_, root = base::open_file(kNewRoot, O_PATH | O_DIRECTORY)] {
        protection.wait();
        warm_up_crun(root, Crun());
      });
}

// Beside the root, whose mount point they do not need.
void Boot::mount_early_disks() {
  const wire::BootPlan& plan = wait_for_plan();
  Uevents uevents;
  system_mounts_.wait();
  for (const auto& disk : plan.disks) {
    if (is_early(plan, disk)) mount_disk(uevents, disk);
  }
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
      if (!prepared_device_.empty()) {
        protection_.get();
        base::unmount(kNewRoot, MNT_DETACH);
      }
      prepare_root(device);
    }
    if (plan.grow_root_to_bytes > 0) {
      grow_ext4("/dev/" + prepared_device_, kNewRoot, plan.grow_root_to_bytes);
    }
    protection_.get();
    system_mounts_.get();
    early_disks_.wait();
    switch_root(kNewRoot);
  });
  step("modules", [&] {
    for (const auto& name : plan.modules) modules_.load(name);
  });
  step("disks", [&] {
    early_disks_.get();
    for (const auto& disk : plan.disks) {
      if (!is_early(plan, disk)) mount_disk(uevents, disk);
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
  });
}

}  // namespace fc_agent
