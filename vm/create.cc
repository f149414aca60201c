// Making a VM: every check first, then the record, then what it names.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.h"
#include "base/fault_point.h"
#include "base/files.h"
#include "base/process.h"
#include "base/rollback.h"
#include "hypervisor/hypervisor.h"
#include "image/base_rootfs.h"
#include "image/guest_podman.h"
#include "image/initramfs.h"
#include "image/kernel.h"
#include "image/prune.h"
#include "image/seccomp_profile.h"
#include "storage/reflink.h"
#include "vm/bundle.h"
#include "vm/clock.h"
#include "vm/flag_parsers.h"
#include "vm/guest_paths.h"
#include "vm/launch_plan.h"
#include "vm/podman_arguments.h"
#include "vm/vm_manager.h"
#include "wire/message_stream.h"

namespace vm {
namespace {

// On the VM's own disk: what the container writes outlives a restart of the VM.
constexpr char kContainerUpper[] = "/var/lib/fcvm/container/upper";
constexpr char kContainerWork[] = "/var/lib/fcvm/container/work";

std::string engine_name(Engine engine) {
  return engine == Engine::kPodman ? "podman" : "crun";
}

// Without root an image disk holds one merged tree instead of layers (image/skopeo.h): Podman has no
// use for it.
Engine choose_engine(const RunOptions& options, const std::string& image_disk) {
  struct stat info {};
  if (::stat(image_disk.c_str(), &info) != 0) base::throw_errno("examining", image_disk);
  const bool has_layers = info.st_uid == 0;
  if (!has_layers && options.engine == Engine::kPodman) {
    throw base::Error("--engine podman: this image disk was made without root, and has no layers")
        .set_hint("use --engine crun");
  }
  return options.engine.value_or(has_layers ? Engine::kPodman : Engine::kCrun);
}

std::string hypervisor_name(HypervisorChoice choice) {
  switch (choice) {
    case HypervisorChoice::kAuto:
      return "auto";
    case HypervisorChoice::kQemu:
      return "qemu";
    case HypervisorChoice::kFirecracker:
      return "firecracker";
  }
  return "auto";
}

// What the chosen hypervisor can do here; throws when it cannot do what was asked for.
hypervisor::Capabilities require_hypervisor(const RunOptions& options) {
  const auto chosen = hypervisor::make_hypervisor(hypervisor_name(options.hypervisor));
  hypervisor::Capabilities can = chosen->probe();
  if (!can.usable) {
    throw base::Error(base::cat("hypervisor ", can.hypervisor, " cannot be used: ", can.why_not))
        .set_hint(can.hint);
  }
  if (options.accel == AccelChoice::kTcg && !can.tcg) {
    throw base::Error(base::cat("--accel tcg: ", can.tcg_why_not));
  }
  return can;
}

// The container's own hosts begins with the host's, as podman does. A file longer than the boot plan
// has room for (block lists are) is cut after its last whole line that fits.
std::string host_hosts() {
  constexpr std::size_t kMaxHostsBytes = 256 * 1024;
  const base::Fd fd = base::try_open_file("/etc/hosts", O_RDONLY);
  if (!fd) return {};
  std::string text(kMaxHostsBytes, '\0');
  const ssize_t n = ::read(fd.get(), text.data(), text.size());
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  if (text.size() == kMaxHostsBytes) text.resize(text.rfind('\n') + 1);
  return text;
}

std::string cpu_list(const std::vector<int>& cpus) {
  std::string text;
  for (const int cpu : cpus) text += base::cat(text.empty() ? "" : ",", cpu);
  return text;
}

// The files of --disk, checked while refusing them costs nothing. Their absolute paths.
std::vector<std::string> check_disks(const std::vector<VolumeMapping>& disks) {
  constexpr off_t kExtMagicOffset = 1080;  // s_magic of the superblock, fs/ext4/ext4.h
  constexpr std::size_t kMaxDisks = 8;
  if (disks.size() > kMaxDisks) throw base::Error(base::cat("more than ", kMaxDisks, " disks"));
  std::vector<std::string> paths;
  for (const auto& disk : disks) {
    base::with_context(base::cat("--disk ", disk.source), [&] {
      const base::Fd file = base::open_file(disk.source, disk.read_only ? O_RDONLY : O_RDWR);
      unsigned char magic[2] = {};
      if (::pread(file.get(), magic, sizeof magic, kExtMagicOffset) != sizeof magic ||
          magic[0] != 0x53 || magic[1] != 0xef) {
        throw base::Error("it holds no ext4 file system")
            .set_hint(base::cat("make one: mkfs.ext4 ", disk.source));
      }
      paths.push_back(base::canonical_path(disk.source));
    });
  }
  return paths;
}

// What the agent needs to run the container itself, by crun.
void plan_for_crun(const image::ImageMeta& meta, BundleFiles& bundle, wire::PlanContainer& plan) {
  plan.bundle = std::string(kGuestBundleDirectory);
  for (const auto& layer : meta.layers) {
    plan.root.lower.push_back(base::cat(image::kGuestImageStore, "/", layer));
  }
  plan.root.upper = kContainerUpper;
  plan.root.work = kContainerWork;
  plan.root.target = std::string(kGuestRootfs);
  plan.root_edits = std::move(bundle.root_edits);
}

wire::BootPlan make_boot_plan(const VmRecord& record, BundleFiles bundle,
                              wire::PlanContainer container) {
  wire::BootPlan plan;
  plan.host_name = bundle.hostname;
  plan.machine_id = random_hex(32);
  plan.disks.push_back({"image", image::kGuestImageStore, "ext4", true});
  plan.files = std::move(bundle.files);
  plan.sysctls = std::move(bundle.guest_sysctls);
  plan.container = std::move(container);
  plan.container.id = record.id;
  // With podman nobody runs it, but it tells `inspect` what the process gets.
  plan.container.config_json = std::move(bundle.config_json);
  return plan;
}

}  // namespace

VmRecord VmManager::reserve(VmRecord record) {
  // Names are unique: checked and taken under one lock.
  const base::FileLock lock = store_.records().lock();
  if (record.name.empty()) {
    do {
      record.name = random_name();
    } while (name_taken(record.name));
  } else {
    check_name(record.name);
  }
  store_.create(record);
  return record;
}

VmRecord VmManager::create(const RunOptions& options, const image::ImageDisk& image) {
  const storage::DataDirectory& data = store_.data();
  const hypervisor::Capabilities can = require_hypervisor(options);
  const Engine engine = choose_engine(options, image.disk_path);

  VmRecord record;
  record.id = random_hex(64);
  record.name = options.name;
  record.created_ns = wall_clock_ns();
  record.creator = base::identify_process(::getpid()).value();
  record.image = options.image;
  record.image_digest = image.digest;
  record.labels = image.meta.config.labels;
  for (const auto& [key, value] : options.labels) record.labels[key] = value;
  record.engine = engine_name(engine);
  record.hypervisor = can.hypervisor;
  record.cpus = static_cast<unsigned>(options.cpus);
  record.mem_mib = options.memory_bytes >> 20;
  record.tty = options.tty;
  record.open_stdin = options.interactive;
  record.auto_remove = options.remove;
  record.stop_timeout_s = static_cast<int>(options.stop_timeout.count());
  if (options.restart) record.restart_policy = to_string(*options.restart);
  record.restart_max = options.restart_max;

  LaunchPlan plan;
  plan.health = resolve_health_check(options.health, image.meta.config.healthcheck);
  plan.hypervisor = can.hypervisor;
  switch (options.accel) {
    case AccelChoice::kAuto:
      plan.accel = to_string(can.best_accel());
      break;
    case AccelChoice::kKvm:
      plan.accel = "kvm";
      break;
    case AccelChoice::kTcg:
      plan.accel = "tcg";
      break;
  }
  record.accel = plan.accel;
  // Until the plan is on disk, nobody else knows that they are needed.
  const base::FileLock assets = image::hold_assets(data);
  const image::Kernel kernel = image::load_kernel(data, options.kernel);
  plan.kernel = kernel.path;
  plan.initramfs = image::ensure_initramfs(data, base::find_own_program("fc-agent"), kernel).path;
  plan.kernel_args = options.kernel_args;
  plan.cpus = record.cpus;
  plan.mem_mib = record.mem_mib;
  plan.balloon_mib = options.balloon_bytes >> 20;
  plan.cpuset_cpus = cpu_list(options.cpuset_cpus);
  const std::vector<std::string> user_disks = check_disks(options.disks);
  const image::BaseRootfs base_rootfs =
      options.rootfs_bytes == 0 ? image::base_rootfs_of_size(data)
                                : image::base_rootfs_of_size(data, options.rootfs_bytes);

  record = reserve(std::move(record));
  const VmPaths paths = store_.paths(record.id);
  base::Rollback rollback;
  // Should this fail, the next command finds a half-made VM without its creator and removes it.
  rollback.push([&] { store_.destroy(store_.records().lock_record(record.id), record); });

  base::fault_point("create.record");

  GuestFacts facts;
  facts.vm_id = record.id;
  facts.vm_name = record.name;
  facts.seccomp_cache = data.cache() + "/seccomp";
  facts.seccomp_profile = options.privileged ? "" : image::seccomp_profile(data);
  facts.network = NetworkMode::kNone;
  facts.init_program = kGuestInitProgram;
  facts.base_hosts = host_hosts();
  BundleFiles bundle = make_bundle(image.meta, options, facts);
  record.command = bundle.command;
  record.stop_signal = bundle.stop_signal;
  const std::string exec_base = bundle.exec_base;
  wire::PlanContainer container;
  if (engine == Engine::kPodman) {
    container.podman = podman_arguments(image.meta, options, facts, bundle);
  } else {
    plan_for_crun(image.meta, bundle, container);
  }
  plan.boot = make_boot_plan(record, std::move(bundle), std::move(container));

  for (std::size_t i = 0; i < user_disks.size(); ++i) {
    const std::string serial = base::cat("disk", i);
    plan.disks.push_back({serial, user_disks[i], options.disks[i].read_only});
    plan.boot.disks.push_back(
        {serial, base::cat(kGuestDisksDirectory, "/", i), "ext4", options.disks[i].read_only});
  }
  if (wire::to_json(plan.boot).size() > wire::MessageStream::kMaxMessageBytes) {
    throw base::Error("the environment and arguments are too large")
        .set_hint("together they may have about 700 KiB");
  }

  base::make_directories(paths.disks, 0700);
  base::fault_point("create.folder");
  storage::reflink_or_copy(base_rootfs.path, paths.root_disk);
  base::fault_point("create.disk");
  plan.disks.push_back({"root", paths.root_disk, false});
  plan.disks.push_back({"image", image.disk_path, true});
  base::write_file(paths.exec_base, exec_base);
  base::write_file(paths.launch_plan, to_json(plan));
  base::fault_point("create.plan");
  store_.update(store_.records().lock_record(record.id), record);
  rollback.commit();
  return record;
}

}  // namespace vm
