#include "vm/bundle.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "base/base64.h"
#include "base/error.h"
#include "base/version.h"
#include "vm/detail/bundle_process.h"
#include "vm/flag_parsers.h"
#include "vm/guest_paths.h"
#include "vm/network_files.h"
#include "vm/seccomp_profile.h"

namespace vm {
namespace {

using base::cat;
using base::Error;
using nlohmann::json;
using Kind = wire::PlanRootEdit::Kind;

constexpr std::int64_t kPidsLimit = 2048;  // podman's default

struct Mount {
  std::string destination;
  std::string type;
  std::string source;
  std::vector<std::string> options;
};

bool has_mount(const std::vector<Mount>& mounts, std::string_view destination) {
  return std::any_of(mounts.begin(), mounts.end(),
                     [&](const Mount& mount) { return mount.destination == destination; });
}

// The agent mounts each disk in the guest; the container gets a bind of it.
void add_disks(const RunOptions& options, std::vector<Mount>& mounts) {
  for (std::size_t i = 0; i < options.disks.size(); ++i) {
    const VolumeMapping& disk = options.disks[i];
    if (has_mount(mounts, disk.target)) {
      throw base::Error(cat(base::quoted(disk.target), " is mounted twice"));
    }
    mounts.push_back({disk.target,
                      "bind",
                      cat(kGuestDisksDirectory, "/", i),
                      {"rbind", "rprivate", disk.read_only ? "ro" : "rw"}});
  }
}

// Mounts that everybody gets. A mount of the user's at the same place takes their place.
std::vector<Mount> system_mounts(const RunOptions& options) {
  const std::string access = options.privileged ? "rw" : "ro";
  std::vector<Mount> mounts = {
      {"/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}},
      {"/dev", "tmpfs", "tmpfs", {"nosuid", "noexec", "strictatime", "mode=755", "size=65536k"}},
      {"/sys", "sysfs", "sysfs", {"nosuid", "noexec", "nodev", access}},
      {"/dev/pts",
       "devpts",
       "devpts",
       {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
      {"/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}},
      // podman makes this tmpfs itself and binds it; in a VM of its own nobody shares it.
      {"/dev/shm",
       "tmpfs",
       "shm",
       {"rprivate", "nosuid", "noexec", "nodev", "mode=1777", cat("size=", options.shm_bytes)}},
      {"/sys/fs/cgroup",
       "cgroup",
       "cgroup",
       {"rprivate", "nosuid", "noexec", "nodev", "relatime", access}}};
  if (options.privileged) {
    const auto sys = std::find_if(mounts.begin(), mounts.end(),
                                  [](const Mount& mount) { return mount.destination == "/sys"; });
    sys->options.insert(sys->options.begin(), "rprivate");
  }
  return mounts;
}

std::vector<Mount> tmpfs_mounts(const RunOptions& options, const base::UserInfo& user) {
  std::vector<Mount> mounts;
  for (const TmpfsMount& tmpfs : options.tmpfs) {
    Mount mount{tmpfs.target, "tmpfs", "tmpfs", {}};
    for (const std::string& option : tmpfs.options) {
      if (option == "U") {
        mount.options.push_back(cat("uid=", user.uid));
        mount.options.push_back(cat("gid=", user.gid));
      } else {
        mount.options.push_back(option);
      }
    }
    std::erase_if(mounts, [&](const Mount& other) { return other.destination == tmpfs.target; });
    mounts.push_back(std::move(mount));
  }
  if (options.read_only) {
    for (const char* path : {"/run", "/tmp", "/var/tmp"}) {
      if (has_mount(mounts, path)) continue;
      mounts.push_back(
          {path, "tmpfs", "tmpfs", {"rw", "rprivate", "nosuid", "nodev", "tmpcopyup"}});
    }
  }
  return mounts;
}

// The image's VOLUMEs: directories of the container's own root, writable even if that is read-only.
void add_volumes(const image::ImageConfig& image, std::vector<Mount>& mounts,
                 std::vector<wire::PlanRootEdit>& edits) {
  std::size_t index = 0;
  for (const std::string& volume : image.volumes) {
    const std::string path = clean_absolute_path(volume);
    if (path == "/" || has_mount(mounts, path)) continue;
    const std::string source = cat(kGuestVolumesDirectory, "/", index++);
    edits.push_back({Kind::kBind, path, source});
    mounts.push_back(
        {path, "bind", source, {"rprivate", "rw", "nodev", "exec", "nosuid", "rbind"}});
  }
}

std::string containerenv_text(const image::ImageMeta& image, const RunOptions& options,
                              const GuestFacts& facts) {
  if (!options.privileged) return {};
  constexpr std::string_view kDigestPrefix = "sha256:";
  std::string_view image_id = image.digest;
  if (image_id.rfind(kDigestPrefix, 0) == 0) image_id.remove_prefix(kDigestPrefix.size());
  return cat("engine=\"fcvm-", base::kVersion, "\"\nname=\"", facts.vm_name, "\"\nid=\"",
             facts.vm_id, "\"\nimage=\"", image.reference, "\"\nimageid=\"", image_id,
             "\"\nrootless=0\n");
}

// Files the engine writes and binds over the container's own.
void add_engine_files(const image::ImageMeta& image, const RunOptions& options,
                      const GuestFacts& facts, const std::string& hostname,
                      std::vector<Mount>& mounts, std::vector<wire::PlanFile>& files) {
  const auto add = [&](std::string_view destination, std::string_view source, std::string content) {
    if (has_mount(mounts, destination)) return;
    Mount mount{std::string(destination), "bind", std::string(source), {"bind", "rprivate"}};
    if (options.read_only) {
      mount.options.insert(mount.options.end(), {"ro", "nosuid", "noexec", "nodev"});
    }
    mounts.push_back(std::move(mount));
    files.push_back({std::string(source), std::move(content), 0644});
  };

  HostsInput hosts;
  hosts.extra = options.add_hosts;
  hosts.base = facts.base_hosts;
  hosts.host_ip = facts.host_ip;
  hosts.container_ip =
      facts.network == NetworkMode::kNone ? std::string("127.0.0.1") : facts.container_ip;
  hosts.container_names = {hostname};
  if (!facts.vm_name.empty() && facts.vm_name != hostname) {
    hosts.container_names.push_back(facts.vm_name);
  }
  add("/etc/hosts", kGuestHostsFile, make_hosts(hosts));
  add("/etc/hostname", kGuestHostnameFile, hostname);
  if (facts.network != NetworkMode::kNone) {
    add("/etc/resolv.conf", kGuestResolvConfFile,
        make_resolv_conf(options.dns.empty() ? facts.nameservers : options.dns,
                         options.dns_search.empty() ? facts.search_domains : options.dns_search));
  }
  if (!has_mount(mounts, "/run")) {
    add("/run/.containerenv", kGuestContainerenvFile, containerenv_text(image, options, facts));
  }
}

// Parents before children, else the order stays.
void sort_mounts(std::vector<Mount>& mounts) {
  const auto depth = [](const Mount& mount) {
    return std::count(mount.destination.begin(), mount.destination.end(), '/');
  };
  std::stable_sort(mounts.begin(), mounts.end(), [&](const Mount& left, const Mount& right) {
    return depth(left) < depth(right);
  });
}

json mounts_json(const std::vector<Mount>& mounts) {
  json out = json::array();
  for (const Mount& mount : mounts) {
    out.push_back({{"destination", mount.destination},
                   {"type", mount.type},
                   {"source", mount.source},
                   {"options", mount.options}});
  }
  return out;
}

json devices_json(const std::vector<DeviceNode>& devices) {
  json out = json::array();
  for (const DeviceNode& device : devices) {
    out.push_back({{"path", device.path},
                   {"type", std::string(1, device.type)},
                   {"major", device.major},
                   {"minor", device.minor},
                   {"fileMode", device.mode},
                   {"uid", 0},
                   {"gid", 0}});
  }
  return out;
}

json linux_json(const RunOptions& options, const GuestFacts& facts) {
  json out;
  out["cgroupsPath"] = kGuestContainerCgroup;
  // No network namespace: the guest's own is the container's.
  out["namespaces"] = json::array();
  for (const char* type : {"pid", "ipc", "uts", "mount", "cgroup"}) {
    out["namespaces"].push_back({{"type", type}});
  }
  out["resources"] = {
      {"devices", json::array({{{"allow", options.privileged}, {"access", "rwm"}}})},
      {"pids", {{"limit", kPidsLimit}}}};
  if (options.privileged) {
    out["devices"] = devices_json(facts.devices);
  } else {
    out["maskedPaths"] = {"/proc/acpi",          "/proc/kcore",      "/proc/keys",
                          "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                          "/proc/sched_debug",   "/proc/scsi",       "/sys/firmware",
                          "/sys/fs/selinux",     "/sys/dev/block"};
    out["readonlyPaths"] = {"/proc/asound", "/proc/bus", "/proc/fs",
                            "/proc/irq",    "/proc/sys", "/proc/sysrq-trigger"};
  }
  for (const TmpfsMount& tmpfs : options.tmpfs) {
    for (const std::string& option : tmpfs.options) {
      if (option == "shared" || option == "rshared") {
        out["rootfsPropagation"] = "shared";
      } else if ((option == "slave" || option == "rslave") && !out.contains("rootfsPropagation")) {
        out["rootfsPropagation"] = "rslave";
      }
    }
  }
  return out;
}

// The filter both as rules and as a finished program (docs/adr/0007): crun takes the program, instead
// of having libseccomp build it in the guest; a crun that does not know the annotation filters too.
// Returns the program.
std::string add_seccomp(json& config, const GuestFacts& facts,
                        const std::vector<std::string>& bounding) {
  if (facts.seccomp_profile.empty()) {
    Error error("the default seccomp profile is missing");
    error.set_hint("run 'fcvm setup'");
    throw error;
  }
  json seccomp = resolve_seccomp_profile(facts.seccomp_profile, facts.architecture, bounding);
  std::string program = base::encode_base64(
      facts.seccomp_cache.empty() ? compile_seccomp_filter(seccomp)
                                  : cached_seccomp_filter(seccomp, facts.seccomp_cache));
  config["annotations"][std::string(kSeccompAnnotation)] = program;
  config["linux"]["seccomp"] = std::move(seccomp);
  return program;
}

void add_root_edits(const RunOptions& options, const std::string& vm_id,
                    const detail::ProcessParts& parts, const std::vector<Mount>& mounts,
                    std::vector<wire::PlanRootEdit>& edits) {
  const auto append = [&](const char* path, const std::string& text) {
    if (!text.empty()) edits.push_back({Kind::kAppend, path, text});
  };
  append("/etc/passwd", parts.user_lines.passwd);
  append("/etc/group", parts.user_lines.group);
  edits.push_back({Kind::kSymlink, "/etc/mtab", "/proc/mounts"});

  // A directory below a mount of the container's is not the root's to make.
  const std::string& directory = parts.working_dir;
  const bool below_mount = std::any_of(mounts.begin(), mounts.end(), [&](const Mount& mount) {
    return directory == mount.destination || directory.rfind(mount.destination + "/", 0) == 0;
  });
  if (directory == "/" || below_mount) return;
  wire::PlanRootEdit edit;
  edit.kind = options.workdir.empty() ? Kind::kMakeDirectory : Kind::kRequireDirectory;
  edit.path = directory;
  edit.text = cat("workdir ", base::quoted(directory), " does not exist on container ", vm_id);
  edit.uid = parts.user.uid;
  edit.gid = parts.user.gid;
  edits.push_back(std::move(edit));
}

int resolve_stop_signal(const image::ImageConfig& image, const RunOptions& options) {
  constexpr int kSigterm = 15;
  if (options.stop_signal != 0) return options.stop_signal;
  if (image.stop_signal.empty()) return kSigterm;
  return base::with_context("reading the image's stop signal",
                            [&] { return parse_signal(image.stop_signal); });
}

void refuse_contradictions(const RunOptions& options, const GuestFacts& facts) {
  if (facts.network == NetworkMode::kNone) {
    if (!options.dns.empty()) throw Error("conflicting options: dns and the network mode: none");
    if (!options.dns_search.empty()) {
      throw Error("conflicting options: dns-search and the network mode: none");
    }
  }
  if (options.init && facts.init_program.empty()) {
    Error error("the guest has no program for --init");
    error.set_hint("run 'fcvm setup --base-packages catatonit'");
    throw error;
  }
}

}  // namespace

std::vector<DeviceNode> common_devices() {
  std::vector<DeviceNode> devices = {{"/dev/autofs", 'c', 10, 235, 0644},
                                     {"/dev/btrfs-control", 'c', 10, 234, 0600},
                                     {"/dev/full", 'c', 1, 7, 0666},
                                     {"/dev/fuse", 'c', 10, 229, 0666},
                                     {"/dev/hwrng", 'c', 10, 183, 0600},
                                     {"/dev/kmsg", 'c', 1, 11, 0644},
                                     {"/dev/loop-control", 'c', 10, 237, 0600},
                                     {"/dev/net/tun", 'c', 10, 200, 0666},
                                     {"/dev/null", 'c', 1, 3, 0666},
                                     {"/dev/port", 'c', 1, 4, 0640},
                                     {"/dev/random", 'c', 1, 8, 0666},
                                     {"/dev/tty", 'c', 5, 0, 0666},
                                     {"/dev/urandom", 'c', 1, 9, 0666},
                                     {"/dev/zero", 'c', 1, 5, 0666}};
  for (unsigned i = 0; i < 8; ++i) devices.push_back({cat("/dev/loop", i), 'b', 7, i, 0660});
  return devices;
}

BundleFiles make_bundle(const image::ImageMeta& image, const RunOptions& options,
                        const GuestFacts& facts) {
  refuse_contradictions(options, facts);
  const detail::ProcessParts parts = detail::resolve_process(image, options, facts);

  BundleFiles bundle;
  bundle.hostname = parts.hostname;
  bundle.command = parts.command;
  bundle.stop_signal = resolve_stop_signal(image.config, options);

  std::vector<Mount> mounts = tmpfs_mounts(options, parts.user);
  for (Mount& mount : system_mounts(options)) {
    if (!has_mount(mounts, mount.destination)) mounts.push_back(std::move(mount));
  }
  add_disks(options, mounts);
  add_volumes(image.config, mounts, bundle.root_edits);
  add_engine_files(image, options, facts, parts.hostname, mounts, bundle.files);
  if (options.init) {
    mounts.push_back({std::string(detail::kInitInContainer),
                      "bind",
                      facts.init_program,
                      {"bind", "ro", "rprivate"}});
  }
  sort_mounts(mounts);
  add_root_edits(options, facts.vm_id, parts, mounts, bundle.root_edits);

  json config;
  config["ociVersion"] = "1.0.2";
  config["process"] = detail::process_json(image, options, facts, parts);
  config["root"] = {{"path", kGuestRootfs}};
  if (options.read_only) config["root"]["readonly"] = true;
  config["hostname"] = parts.hostname;
  config["mounts"] = mounts_json(mounts);
  config["annotations"]["org.opencontainers.image.stopSignal"] = std::to_string(bundle.stop_signal);
  config["linux"] = linux_json(options, facts);
  if (!options.privileged) bundle.seccomp_filter = add_seccomp(config, facts, parts.bounding);
  // An image may hold bytes that are no UTF-8; crun's parser would refuse them.
  bundle.config_json = config.dump(-1, ' ', false, json::error_handler_t::replace);

  bundle.guest_sysctls["net.ipv4.ping_group_range"] = "0 0";
  bundle.exec_base = detail::exec_base_json(image, options, facts, parts);
  return bundle;
}

}  // namespace vm
