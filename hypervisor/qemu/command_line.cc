#include "hypervisor/qemu/command_line.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace hypervisor::qemu {
namespace {

using base::cat;

// Translated code of the guest. The default grows with the host's memory, to 1 GiB; boots from 32 to
// 512 MiB took the same time.
constexpr unsigned kTcgCacheMib = 128;

class Arguments {
 public:
  explicit Arguments(std::string program) { list_.push_back(std::move(program)); }
  void add(std::string flag) { list_.push_back(std::move(flag)); }
  void add(std::string flag, std::string value) {
    list_.push_back(std::move(flag));
    list_.push_back(std::move(value));
  }
  // JSON where QEMU takes it: file names may hold commas.
  void add_json(std::string flag, const nlohmann::json& value) {
    add(std::move(flag), value.dump());
  }
  std::vector<std::string> take() { return std::move(list_); }

 private:
  std::vector<std::string> list_;
};

void add_machine(Arguments& args) {
  std::string machine = "microvm";
  // The distribution's kernel has no virtio_mmio.device= parameter; ACPI is how it finds the devices,
  // and how it powers off.
  machine += ",acpi=on";
  // Without a CMOS clock the kernel polls for one twice, a second each time (measured: 2.2 s of
  // boot); with it the guest also knows the time from the start.
  machine += ",rtc=on";
  // The kernel calibrates the local APIC timer against the PIT; with neither PIT nor PIC it never
  // boots.
  machine += ",pit=on,pic=on";
  machine += ",isa-serial=on";
  // Devices are found by ACPI, not by text that QEMU appends to our kernel arguments.
  machine += ",auto-kernel-cmdline=off";
  machine += ",memory-backend=mem0";
  // A crash of the VMM must not write guest memory, which holds secrets, into a core file.
  machine += ",dump-guest-core=off";
  args.add("-machine", std::move(machine));
}

void add_accel(Arguments& args, Accel accel) {
  if (accel == Accel::kKvm) {
    args.add("-accel", "kvm");
    args.add("-cpu", "host");
    return;
  }
  args.add("-accel", cat("tcg,thread=multi,tb-size=", kTcgCacheMib));
  // tcg runs `rep movsb` byte by byte; without these two flags the guest's kernel copies by words:
  // copies 3.5 to 6 times faster, boot 0.2 s.
  args.add("-cpu", "max,-erms,-fsrm");
}

void add_memory(Arguments& args, const CommandLineInput& input) {
  args.add("-m", cat(input.config.mem_mib, "M"));
  // A file of ours, so that a snapshot copies memory without QEMU and statistics can count its
  // pages; share=on, or writes would go to private copies. The path reopens the inherited memfd.
  args.add("-object", cat("memory-backend-file,id=mem0,size=", input.config.mem_mib,
                          "M,mem-path=/proc/self/fd/", input.fds.memory, ",share=on"));
}

void add_socket_chardev(Arguments& args, const std::string& id, int fd) {
  args.add("-chardev", cat("socket,id=", id, ",fd=", fd));
}

void add_disk(Arguments& args, const DiskConfig& disk) {
  const std::string node = block_node_name(disk.id);
  const nlohmann::json cache = {{"direct", false}, {"no-flush", disk.discard_flushes}};
  args.add_json("-blockdev",
                nlohmann::json{{"driver", "file"},
                               {"node-name", node + "-file"},
                               {"filename", disk.path},
                               {"read-only", disk.read_only},
                               // A read-write open must not turn into a read-only one that
                               // the guest finds out about later.
                               {"auto-read-only", false},
                               // fstrim in the guest frees space on the host.
                               {"discard", "unmap"},
                               {"cache", cache}});
  args.add_json("-blockdev", nlohmann::json{{"driver", "raw"},
                                            {"node-name", node},
                                            {"file", node + "-file"},
                                            {"read-only", disk.read_only},
                                            {"discard", "unmap"},
                                            {"cache", cache}});
  args.add_json("-device",
                nlohmann::json{{"driver", "virtio-blk-device"},
                               {"id", "blk-" + disk.id},
                               {"drive", node},
                               {"serial", disk.id},
                               {"write-cache", "on"},
                               // The guest gets the error. By default QEMU stops the whole
                               // machine when the host's disk is full, and nobody resumes it.
                               {"werror", "report"},
                               {"rerror", "report"}});
}

}  // namespace

std::string block_node_name(const std::string& disk_id) {
  return "disk-" + disk_id;
}

std::string build_kernel_args(const CommandLineInput& input) {
  std::string args;
  if (input.config.accel == Accel::kTcg && input.tsc_khz != 0) {
    // The guest reads the host's TSC. Calibrating it against an emulated timer hung 2 boots of 25.
    args += cat("tsc_early_khz=", input.tsc_khz, " ");
  }
  if (input.config.accel == Accel::kTcg) {
    // With more than one vCPU the kernel calls the TSCs unsynchronized, for tcg offers no invariant
    // TSC, and falls back to jiffies: a clock and timers of 4 ms. They are one: the host's.
    args += "tsc=reliable ";
    // Self-tests of ciphers: 0.2 s under tcg.
    args += "cryptomgr.notests ";
  }
  // The console gets warnings and panics; at `quiet` it costs nothing measurable. A panic resets at
  // once, which ends the VMM (-no-reboot).
  args += "console=ttyS0 quiet panic=-1 reboot=t";
  if (!input.config.kernel_args.empty()) args += " " + input.config.kernel_args;
  return args;
}

std::vector<std::string> build_command_line(const CommandLineInput& input) {
  const MachineConfig& config = input.config;
  Arguments args(input.program);

  // Thread names tell vCPUs apart in top.
  args.add("-name", cat("guest=", config.vm_id, ",debug-threads=on"));
  // Nothing that we have not named: no default devices, no configuration of the user.
  args.add("-nodefaults");
  args.add("-no-user-config");
  args.add("-display", "none");
  args.add("-monitor", "none");
  // A reset ends the VMM: a microVM boots once.
  args.add("-no-reboot");
  // After start-up QEMU needs no new process, privilege or scheduling class.
  args.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");

  add_machine(args);
  add_accel(args, config.accel);
  args.add("-smp", cat("cpus=", config.vcpus, ",maxcpus=", config.vcpus));
  add_memory(args, input);
  // Modern virtio-mmio: virtio-fs hangs without it, and legacy devices copy page frame numbers of
  // 32 bits.
  args.add("-global", "virtio-mmio.force-legacy=false");

  add_socket_chardev(args, "qmp", input.fds.qmp);
  args.add("-mon", "chardev=qmp,mode=control");
  add_socket_chardev(args, "console", input.fds.console);
  args.add("-serial", "chardev:console");

  // Port 0 is a console by the device's definition, so the link is port 1.
  args.add("-device", "virtio-serial-device,id=serial0,max_ports=2");
  add_socket_chardev(args, "link", input.fds.link);
  args.add("-device",
           cat("virtserialport,bus=serial0.0,nr=1,chardev=link,id=link,name=", kLinkPortName));

  for (const DiskConfig& disk : config.disks) add_disk(args, disk);

  // Entropy from the host's getrandom(2): no file to keep open.
  args.add("-object", "rng-builtin,id=rng0");
  args.add("-device", "virtio-rng-device,rng=rng0");
  if (config.balloon) {
    // A guest in need takes its memory back rather than killing its processes.
    args.add("-device", "virtio-balloon-device,id=balloon0,deflate-on-oom=on");
  }

  if (config.restore) {
    // The guest has its kernel in memory already. Deferred, for what the state holds has to be said
    // first (migrate-set-capabilities); and standing still when it is loaded.
    args.add("-incoming", "defer");
    args.add("-S");
    return args.take();
  }
  args.add("-kernel", config.kernel);
  if (!config.initramfs.empty()) args.add("-initrd", config.initramfs);
  args.add("-append", build_kernel_args(input));
  return args.take();
}

}  // namespace hypervisor::qemu
