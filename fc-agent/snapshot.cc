#include "fc-agent/snapshot.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "base/error.h"
#include "base/fd.h"
#include "base/files.h"
#include "base/log.h"
#include "base/process.h"
#include "fc-agent/cgroup.h"
#include "fc-agent/guest_setup.h"
#include "fc-agent/root_edits.h"

namespace fc_agent {
namespace {

// A process that waits for a disk stands still only when the disk has answered.
constexpr std::chrono::seconds kFreezeTimeout{20};
constexpr std::size_t kMaxHostsBytes = 1 << 20;
constexpr char kMachineIdFile[] = "/etc/machine-id";

std::string host_name() {
  utsname names{};
  return ::uname(&names) == 0 ? names.nodename : "";
}

// The container may have changed its hosts(5) file, and a process of it may rely on that.
void write_identity_file(const wire::PlanFile& file, const std::string& old_name) {
  std::string content = file.content;
  if (file.path.ends_with("/hosts")) {
    try {
      content = merge_hosts(base::read_file(file.path, kMaxHostsBytes), content, old_name);
    } catch (const base::Error& error) {
      base::log_info(error.what());
    }
  }
  base::write_file(file.path, content, 0644);
}

// In the container's UTS namespace, by a thread of its own: setns(2) changes the calling thread only.
void set_container_host_name(pid_t container, const std::string& name) {
  const base::Fd space = base::open_file(base::cat("/proc/", container, "/ns/uts"), O_RDONLY);
  int error = 0;
  std::thread([&] {
    if (::setns(space.get(), CLONE_NEWUTS) != 0 || ::sethostname(name.data(), name.size()) != 0) {
      error = errno;
    }
  }).join();
  if (error != 0) throw base::Error(error, "setting the container's host name to", name);
}

}  // namespace

void quiesce(const std::string& container_cgroup, pid_t container) {
  if (container_cgroup.empty()) throw base::Error("the container is not running");
  freeze_cgroup(container_cgroup, kFreezeTimeout);
  // A group without processes stands still too.
  const auto first = base::identify_process(container);
  if (!first || !base::process_alive(*first)) {
    thaw_cgroup(container_cgroup);
    throw base::Error("the container has ended");
  }
  ::sync();
}

std::string merge_hosts(std::string_view now, std::string_view planned, std::string_view old_name) {
  const auto last_line = [](std::string_view text) {
    if (text.ends_with('\n')) text.remove_suffix(1);
    return text.substr(text.rfind('\n') + 1);
  };
  const std::string_view own = last_line(planned);
  const std::string_view address = own.substr(0, own.find('\t') + 1);
  std::size_t end = now.size();
  while (end > 0 && !address.empty()) {
    const std::string_view line = last_line(now.substr(0, end));
    const std::size_t begin = static_cast<std::size_t>(line.data() - now.data());
    if (line.starts_with(address)) {
      std::string_view name = line.substr(address.size());
      name = name.substr(0, name.find_first_of(" \t"));
      if (name == old_name) {
        return base::cat(now.substr(0, begin), own, now.substr(begin + line.size()));
      }
    }
    end = begin;
  }
  return std::string(now);
}

void take_identity(const wire::GuestIdentity& identity, pid_t container) {
  if (container == 0) throw base::Error("the container is not running");
  // Random numbers first: nothing below may be decided by those of the snapshot.
  add_entropy(identity.entropy);
  reseed_random();
  const std::string old_name = host_name();
  set_host_name(identity.host_name);
  set_container_host_name(container, identity.host_name);
  ::unlink(kMachineIdFile);  // it may be read-only
  base::write_file(kMachineIdFile, identity.machine_id + "\n", 0444);
  for (const auto& file : identity.files) write_identity_file(file, old_name);
  try {
    // The one that Podman has made itself. Longer than any name: the container's own affair.
    replace_inside(base::cat("/proc/", container, "/root"), "/etc/hostname", old_name,
                   identity.host_name);
  } catch (const base::Error& error) {
    base::log_info(error.what());
  }
}

void thaw(const std::string& container_cgroup, std::int64_t wall_clock_ns) {
  if (container_cgroup.empty()) throw base::Error("the container is not running");
  if (wall_clock_ns > 0) set_wall_clock(wall_clock_ns);
  thaw_cgroup(container_cgroup);
}

}  // namespace fc_agent
