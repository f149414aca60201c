#include "vm/podman_oracle_test_support.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <stdexcept>

#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "tests/support/requirements.h"
#include "vm/flag_parsers.h"

namespace vm::testing {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kBusybox = "/bin/busybox";
constexpr const char* kCgroupRoot = "/sys/fs/cgroup";
constexpr const char* kProfile = "/usr/share/containers/seccomp.json";

constexpr std::string_view kPasswd =
    "root:x:0:0:root:/root:/bin/sh\n"
    "daemon:x:1:1:daemon:/usr/sbin:/bin/sh\n"
    "app:x:1000:1001:App:/home/app:/bin/sh\n"
    "nohome:x:1005:1005:::/bin/sh\n";
constexpr std::string_view kGroup =
    "root:x:0:\n"
    "wheel:x:10:root,app\n"
    "audio:x:29:app,daemon\n"
    "appg:x:1001:\n"
    "extra:x:2000:app\n";

// Keeps what conmon hands to an OCI runtime. `create` is refused, so that nothing starts; all other
// commands go to crun when it should run for real.
constexpr std::string_view kRecordingRuntime = R"(#!/bin/sh
previous=
for argument in "$@"; do
  case "$previous" in
    --bundle) cp "$argument/config.json" '@DIRECTORY@/config.json' ;;
    --process) cp "$argument" '@DIRECTORY@/process.json' ;;
  esac
  previous=$argument
done
@THEN@
)";

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = text.find(what); at != std::string::npos;
       at = text.find(what, at + with.size())) {
    text.replace(at, what.size(), with);
  }
  return text;
}

base::CommandResult run(std::vector<std::string> argv) {
  base::SpawnOptions spawn;
  spawn.argv = std::move(argv);
  return base::run_command(std::move(spawn));
}

void run_checked(std::vector<std::string> argv) {
  base::SpawnOptions spawn;
  spawn.argv = std::move(argv);
  base::run_command_checked(std::move(spawn));
}

json parse_file(const fs::path& path) {
  return json::parse(base::read_file(path.string()));
}

}  // namespace

PrivateMounts::PrivateMounts(Cgroups cgroups)
    : before_(base::open_file("/proc/self/ns/mnt", O_RDONLY)) {
  if (::unshare(CLONE_NEWNS) != 0) base::throw_errno("making a mount namespace");
  base::mount_fs("", "/", "", MS_REC | MS_PRIVATE);
  bool unified = false;
  bool hybrid = false;
  for (const base::MountInfo& mount : base::mounts_below(kCgroupRoot)) {
    if (mount.fs_type != "cgroup2") continue;
    (mount.mount_point == kCgroupRoot ? unified : hybrid) = true;
  }
  if (cgroups == Cgroups::kV2 && !unified) {
    base::mount_fs("cgroup2", kCgroupRoot, "cgroup2", 0);
  } else if (cgroups == Cgroups::kRunnable && hybrid) {
    base::unmount(std::string(kCgroupRoot) + "/unified", MNT_DETACH);
  }
}

PrivateMounts::~PrivateMounts() {
  if (::setns(before_.get(), CLONE_NEWNS) != 0) std::perror("leaving the mount namespace");
}

std::string oracle_missing() {
  if (std::string missing = tests::missing_for(tests::Label::podman); !missing.empty()) {
    return missing;
  }
  if (!fs::exists(kBusybox)) return "/bin/busybox is missing: install busybox-static";
  if (!fs::exists(kProfile)) {
    return std::string(kProfile) + " is missing: install golang-github-containers-common";
  }
  return {};
}

PodmanOracle::PodmanOracle() : rootfs_((directory_ / "rootfs").string()) {
  for (const char* folder : {"bin", "etc", "tmp", "root", "home/app", "proc", "sys", "dev"}) {
    fs::create_directories(fs::path(rootfs_) / folder);
  }
  fs::permissions(fs::path(rootfs_) / "tmp", fs::perms::all | fs::perms::sticky_bit);
  fs::copy_file(kBusybox, fs::path(rootfs_) / "bin/busybox");
  for (const char* applet : {"sh", "id", "env", "sort", "grep", "mount", "cat", "sleep", "ls",
                             "true", "chroot", "unshare", "echo"}) {
    fs::create_symlink("busybox", fs::path(rootfs_) / "bin" / applet);
  }
  base::write_file(rootfs_ + "/etc/passwd", kPasswd, 0644);
  base::write_file(rootfs_ + "/etc/group", kGroup, 0644);

  const std::string tar = (directory_ / "rootfs.tar").string();
  run_checked({"tar", "-C", rootfs_, "-cf", tar, "."});
  for (const auto& [name, then] :
       {std::pair{"refuse", "exit 1"}, std::pair{"record", "exec crun \"$@\""}}) {
    std::string script(kRecordingRuntime);
    script = replaced(script, "@DIRECTORY@", directory_.path().string());
    base::write_file((directory_ / name).string(), replaced(script, "@THEN@", then), 0755);
  }
  const auto import = [&](const std::string& name, const std::vector<std::string>& changes) {
    std::vector<std::string> arguments = {"import", "-q"};
    for (const std::string& change : changes) {
      arguments.insert(arguments.end(), {"--change", change});
    }
    arguments.insert(arguments.end(), {tar, "localhost/" + name + ":1"});
    const auto result = podman(arguments);
    if (!result.status.success()) throw std::runtime_error("podman import: " + result.err);
  };
  import("plain", {"CMD [\"sh\"]", "ENV PATH=/bin:/sbin", "ENV FOO=img"});
  import("full", {"ENTRYPOINT [\"/bin/echo\",\"ep\"]", "CMD [\"a\",\"b\"]", "USER app",
                  "WORKDIR /srv/missing", "STOPSIGNAL SIGQUIT", "LABEL a=b", "VOLUME /data",
                  "ENV PATH=/bin:/sbin"});
}

PodmanOracle::~PodmanOracle() {
  podman({"rm", "-a", "-f", "-t", "0"});
  // podman leaves its store mounted on itself.
  for (const base::MountInfo& mount : base::mounts_below(directory_.path().string())) {
    ::umount2(mount.mount_point.c_str(), MNT_DETACH);
  }
}

image::ImageMeta PodmanOracle::meta(const std::string& name) const {
  image::ImageMeta meta;
  meta.reference = "localhost/" + name + ":1";
  meta.passwd = kPasswd;
  meta.group = kGroup;
  if (name == "plain") {
    meta.config.cmd = {"sh"};
    meta.config.env = {"PATH=/bin:/sbin", "FOO=img"};
  } else {
    meta.config.entrypoint = {"/bin/echo", "ep"};
    meta.config.cmd = {"a", "b"};
    meta.config.user = "app";
    meta.config.working_dir = "/srv/missing";
    meta.config.stop_signal = "SIGQUIT";
    meta.config.labels = {{"a", "b"}};
    meta.config.volumes = {"/data"};
    meta.config.env = {"PATH=/bin:/sbin"};
  }
  return meta;
}

std::vector<std::string> PodmanOracle::command(const std::string& runtime) const {
  return {"podman",
          "--root",
          (directory_ / "root").string(),
          "--runroot",
          (directory_ / "runroot").string(),
          "--tmpdir",
          (directory_ / "tmpdir").string(),
          "--storage-driver",
          "overlay",
          "--cgroup-manager",
          "cgroupfs",
          "--events-backend",
          "none",
          "--runtime",
          runtime};
}

base::CommandResult PodmanOracle::podman(const std::vector<std::string>& arguments) const {
  std::vector<std::string> argv = command((directory_ / "record").string());
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  return run(std::move(argv));
}

json PodmanOracle::configuration(const std::vector<std::string>& arguments,
                                 std::string* error) const {
  const fs::path recorded = directory_ / "config.json";
  fs::remove(recorded);
  std::vector<std::string> argv = command((directory_ / "refuse").string());
  argv.insert(argv.end(), {"run", "--rm", "--network", "none"});
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  const base::CommandResult result = run(std::move(argv));
  if (!fs::exists(recorded)) {
    *error = result.err;
    return nullptr;
  }
  return parse_file(recorded);
}

json PodmanOracle::exec_process(const std::vector<std::string>& arguments) const {
  const fs::path recorded = directory_ / "process.json";
  fs::remove(recorded);
  std::vector<std::string> all = {"exec"};
  all.insert(all.end(), arguments.begin(), arguments.end());
  const base::CommandResult result = podman(all);
  if (!fs::exists(recorded)) throw std::runtime_error("podman exec: " + result.err);
  return parse_file(recorded);
}

RunOptions parse_run_flags(const std::vector<std::string>& arguments) {
  RunOptions options;
  std::size_t i = 0;
  const auto value = [&]() -> const std::string& { return arguments.at(++i); };
  const std::vector<std::string> host_environment = {"FROM_HOST=1"};
  for (; i < arguments.size() && arguments[i].rfind('-', 0) == 0; ++i) {
    const std::string& flag = arguments[i];
    if (flag == "-t") {
      options.tty = true;
    } else if (flag == "--privileged") {
      options.privileged = true;
    } else if (flag == "--read-only") {
      options.read_only = true;
    } else if (flag == "--cap-add") {
      for (std::string& name : split_commas(value())) options.cap_add.push_back(std::move(name));
    } else if (flag == "--cap-drop") {
      for (std::string& name : split_commas(value())) options.cap_drop.push_back(std::move(name));
    } else if (flag == "--user") {
      options.user = value();
    } else if (flag == "--workdir") {
      options.workdir = value();
    } else if (flag == "--entrypoint") {
      options.entrypoint = parse_entrypoint(value());
    } else if (flag == "--hostname") {
      options.hostname = parse_hostname(value());
    } else if (flag == "--env") {
      add_env(value(), host_environment, options.env);
    } else if (flag == "--ulimit") {
      const std::string& text = value();
      if (text == "host") {
        options.ulimit_host = true;
      } else {
        options.ulimits.push_back(parse_ulimit(text));
      }
    } else if (flag == "--tmpfs") {
      options.tmpfs.push_back(parse_tmpfs(value()));
    } else if (flag == "--stop-signal") {
      options.stop_signal = parse_signal(value());
    } else if (flag == "--label") {
      add_label(value(), options.labels);
    } else if (flag == "--add-host") {
      options.add_hosts.push_back(parse_add_host(value()));
    } else if (flag == "--dns") {
      options.dns.push_back(parse_ip(value()));
    } else if (flag == "--init") {
      options.init = true;
    } else if (flag == "--init-path" || flag == "--network") {
      value();
    } else {
      throw std::runtime_error("the test knows no flag " + flag);
    }
  }
  options.image = arguments.at(i);
  options.command.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1, arguments.end());
  return options;
}

std::vector<std::string> host_bounding_set() {
  std::vector<std::string> out;
  // Number by number: the names sorted, as all_capabilities gives them, have lost theirs.
  std::vector<std::string> known;
  for (int number = 0; number <= kLastKnownCapability; ++number) {
    for (std::string& name : all_capabilities(number)) {
      if (std::find(known.begin(), known.end(), name) != known.end()) continue;
      known.push_back(name);
      if (::prctl(PR_CAPBSET_READ, number, 0, 0, 0) == 1) out.push_back(name);
    }
  }
  return out;
}

void remove_unavailable_capabilities(json& capabilities) {
  const std::vector<std::string> host = host_bounding_set();
  for (auto& [set, names] : capabilities.items()) {
    json kept = json::array();
    for (const json& name : names) {
      if (std::find(host.begin(), host.end(), name.get<std::string>()) != host.end()) {
        kept.push_back(name);
      }
    }
    names = std::move(kept);
  }
}

GuestFacts comparable_facts(const std::string& container_id) {
  GuestFacts facts;
  facts.vm_id = container_id;
  facts.seccomp_profile = base::read_file(kProfile);
  facts.pid_max = std::stoull(base::read_file("/proc/sys/kernel/pid_max"));
  facts.init_program = kBusybox;
  return facts;
}

}  // namespace vm::testing
