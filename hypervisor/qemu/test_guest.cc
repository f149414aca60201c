// The whole user space of the guests that machine_vm_test.cc boots: /init over the initramfs of the
// product, whose modules it loads. Says hello on the guest link (unless the kernel argument
// guest_mode is "silent") and serves "run": the argument is a command, its answer goes back on the
// stream.
#include <fcntl.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/event_loop.h"
#include "base/fd.h"
#include "base/files.h"
#include "wire/mux_link.h"

namespace {

constexpr char kPorts[] = "/sys/class/virtio-ports";

void mount_or_die(const char* type, const char* target) {
  ::mkdir(target, 0755);
  if (::mount(type, target, type, 0, nullptr) != 0 && errno != EBUSY) {
    base::throw_errno("mounting", target);
  }
}

void load_modules() {
  std::istringstream order(base::read_file("/modules/order"));
  for (std::string path; std::getline(order, path);) {
    const base::Fd file = base::open_file(path, O_RDONLY);
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST) {
      base::throw_errno("loading", path);
    }
  }
}

// The port's name arrives after the port itself; the kernel says so by an event.
base::Fd open_link() {
  const base::Fd events(
      ::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  address.nl_groups = 1;
  // SAFETY: bind(2) takes every socket address by this pointer type.
  if (::bind(events.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    base::throw_errno("binding", "uevents");
  }
  while (true) {
    for (const auto& port : base::list_directory(kPorts)) {
      const auto name = base::try_read_file(base::cat(kPorts, "/", port, "/name"), 256);
      if (name && name->starts_with("fcvm.link")) return base::open_file("/dev/" + port, O_RDWR);
    }
    base::wait_for(events.get(), POLLIN, std::chrono::milliseconds(1000));
    char buffer[4096];
    while (::recv(events.get(), buffer, sizeof buffer, 0) > 0) {
    }
  }
}

std::string describe_disks() {
  std::string text;
  for (const auto& disk : base::list_directory("/sys/block")) {
    if (!disk.starts_with("vd")) continue;
    const std::string folder = "/sys/block/" + disk;
    text += base::read_file(folder + "/serial", 64);
    text += base::read_file(folder + "/ro", 64).starts_with('1') ? ":ro:" : ":rw:";
    text += std::to_string(std::stoull(base::read_file(folder + "/size", 64)) * 512) + " ";
  }
  return text;
}

// The device whose serial is `serial`.
std::string disk_device(const std::string& serial) {
  for (const auto& disk : base::list_directory("/sys/block")) {
    const auto text = base::try_read_file("/sys/block/" + disk + "/serial", 64);
    if (text && text->starts_with(serial)) return "/dev/" + disk;
  }
  throw base::Error("no disk " + serial);
}

std::string run(const std::string& command) {
  if (command == "disks") return describe_disks();
  if (command == "clocksource") {
    return base::read_file("/sys/devices/system/clocksource/clocksource0/current_clocksource", 64);
  }
  if (command == "cpus") return std::to_string(::get_nprocs());
  if (command == "free_mib") {
    struct sysinfo info {};
    ::sysinfo(&info);
    return std::to_string((info.freeram * info.mem_unit) >> 20);
  }
  if (command == "write_root") {
    const base::Fd disk = base::open_file(disk_device("root"), O_RDWR);
    base::write_all(disk, std::string(1 << 20, 'w'));
    if (::fsync(disk.get()) != 0) base::throw_errno("writing", "root");
    return "written";
  }
  if (command == "write_image") {
    const base::Fd disk = base::open_file(disk_device("image"), O_RDWR);
    base::write_all(disk, std::string(4096, 'w'));
    return "written";
  }
  if (command == "poweroff" || command == "reset" || command == "panic") return "bye";
  return "unknown command";
}

void obey(const std::string& command) {
  if (command == "poweroff") ::reboot(RB_POWER_OFF);
  if (command == "reset") ::reboot(RB_AUTOBOOT);
  if (command == "panic") base::write_file("/proc/sysrq-trigger", "c");
}

void serve(base::Fd port) {
  base::EventLoop loop;
  wire::MuxOptions options;
  options.side = wire::Side::kGuest;
  const auto link = wire::make_mux_link(loop, std::move(port), options);
  std::vector<std::unique_ptr<wire::Stream>> streams;
  wire::Link::Handler handler;
  handler.on_stream = [&](std::unique_ptr<wire::Stream> stream, const std::string&,
                          const std::string& argument) {
    std::string answer;
    try {
      answer = run(argument);
    } catch (const base::Error& error) {
      answer = error.what();
    }
    stream->set_handler({});
    stream->write(answer);
    stream->shutdown_write();
    streams.push_back(std::move(stream));
    // Behind the answer, which the loop is to send first.
    loop.post([&loop, argument] { loop.post([argument] { obey(argument); }); });
  };
  handler.on_down = [&](const std::string&) { loop.stop(); };
  link->set_handler(std::move(handler));
  loop.run();
}

}  // namespace

int main() {
  try {
    mount_or_die("proc", "/proc");
    mount_or_die("sysfs", "/sys");
    mount_or_die("devtmpfs", "/dev");
    const char* mode = std::getenv("guest_mode");
    if (mode != nullptr && std::string(mode) == "silent") {
      base::write_file("/dev/kmsg", "<0>the guest keeps silent\n");
      while (true) ::pause();
    }
    load_modules();
    serve(open_link());
  } catch (const std::exception& error) {
    base::write_file("/dev/kmsg", base::cat("<0>test guest: ", error.what(), "\n"));
  }
  ::reboot(RB_POWER_OFF);
}
