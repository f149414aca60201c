#include "cli/run_flags.h"

#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/utf8.h"
#include "cli/command.h"
#include "vm/flag_parsers.h"

namespace cli {
namespace {

// A kernel, the agent and crun do not fit into less.
constexpr std::uint64_t kMinMemoryBytes = 64ULL << 20;

base::Error not_in_this_version(std::string_view what, std::string_view instead) {
  base::Error error(base::cat("this version has no ", what));
  if (!instead.empty()) error.set_hint(std::string(instead));
  return error;
}

constexpr std::string_view kOnlyNone = "the one network mode of this version is --network none";

std::uint64_t parse_memory(const std::string& text) {
  const std::uint64_t bytes = vm::parse_size(text);
  if (bytes < kMinMemoryBytes) {
    throw base::Error(base::cat(base::quoted(text), " is less memory than the ",
                                kMinMemoryBytes >> 20, "m a VM needs"));
  }
  return bytes;
}

std::vector<int> parse_host_cpus(const std::string& text) {
  std::vector<int> cpus = vm::parse_cpu_list(text);
  const long present = ::sysconf(_SC_NPROCESSORS_CONF);
  for (const int cpu : cpus) {
    if (cpu >= present) throw base::Error(base::cat("this machine has no CPU ", cpu));
  }
  return cpus;
}

}  // namespace

void RunFlags::declare(Options& options) {
  declare_life(options);
  declare_machine(options);
  declare_network(options);
  declare_files(options);
  declare_process(options);
}

void RunFlags::declare_life(Options& options) {
  options.value("name", "NAME", "Of the VM; made up when not given",
                [this](const std::string& text) { run_.name = vm::parse_name(text); });
  options.flag("detach,d", run_.detach, "Leave it running and print its ID");
  options.flag("rm", run_.remove, "Remove the VM when the container has ended");
  options.flag("interactive,i", run_.interactive, "Pass standard input on");
  options.flag("tty,t", run_.tty, "Give the container a terminal");
  options.value(
      "detach-keys", "KEYS", "Keys that leave a terminal; default ctrl-p,ctrl-q",
      [this](const std::string& text) { run_.detach_keys = vm::parse_detach_keys(text); });
  options.value("cidfile", "FILE", "Write the VM's ID to this file, which must not exist",
                run_.cidfile);
  options.value("stop-signal", "SIGNAL", "What stops the container; default the image's, or TERM",
                [this](const std::string& text) { run_.stop_signal = vm::parse_signal(text); });
  options.value("stop-timeout", "SECONDS", "From the stop signal to KILL; default 10",
                [this](const std::string& text) { run_.stop_timeout = vm::parse_seconds(text); });
  options.value("restart", "POLICY",
                "When the container has ended: no, on-failure[:N], always or unless-stopped",
                [this](const std::string& text) {
                  const vm::Restart restart = vm::parse_restart(text);
                  run_.restart = restart.policy;
                  run_.restart_max = restart.max;
                });
  declare_health(options);
  options.value(
      "log-driver", "DRIVER", "k8s-file, the only one (also: file)", [](const std::string& text) {
        if (text != "k8s-file" && text != "file") {
          throw base::Error(
              base::cat("unknown log driver ", base::quoted(text), ": the only one is k8s-file"));
        }
      });
  options.list("log-opt", "KEY=VALUE", "Not in this version", [](const std::string&) {
    throw not_in_this_version("log options", "logs rotate by themselves");
  });
  options.value("pull", "POLICY", "missing, always, never or newer; default missing",
                [this](const std::string& text) { run_.pull = vm::parse_pull(text); });
  source_.declare(options);
  options.flag("timings", run_.timings, "Say on standard error what the start took");
}

void RunFlags::declare_health(Options& options) {
  vm::HealthOptions& health = run_.health;
  options.value(
      "health-cmd", "COMMAND",
      "Checks the container's health: a shell command, a JSON array, or none",
      [&health](const std::string& text) { health.command = vm::parse_health_command(text); });
  options.flag("no-healthcheck", no_health_check_, "Not even the image's");
  options.value("health-interval", "TIME", "Between two checks; default 30s; disable for none",
                [&health](const std::string& text) {
                  health.interval =
                      text == "disable" ? std::chrono::nanoseconds(0) : vm::parse_duration(text);
                });
  options.value("health-timeout", "TIME", "Of one check; default 30s",
                [&health](const std::string& text) {
                  health.timeout = vm::parse_duration(text);
                  if (*health.timeout < std::chrono::seconds(1)) {
                    throw base::Error("it has to be at least a second");
                  }
                });
  options.value(
      "health-start-period", "TIME", "From the start, in which failures do not count; default 0s",
      [&health](const std::string& text) { health.start_period = vm::parse_duration(text); });
  options.value("health-retries", "N", "Failures in a row that make it unhealthy; default 3",
                [&health](const std::string& text) {
                  const std::size_t retries = parse_count(text);
                  if (retries == 0 || retries > 1'000'000) {
                    throw base::Error("it has to be from 1 to 1000000");
                  }
                  health.retries = static_cast<int>(retries);
                });
  options.value("health-url", "URL", "Needs a network", [](const std::string&) {
    throw not_in_this_version("health checks by URL", "use --health-cmd");
  });
}

void RunFlags::declare_machine(Options& options) {
  options.value("cpus", "N", "Virtual CPUs; default 2",
                [this](const std::string& text) { run_.cpus = vm::parse_cpus(text); });
  options.value("memory,m", "SIZE", "Of the VM; default 512m",
                [this](const std::string& text) { run_.memory_bytes = parse_memory(text); });
  options.value("balloon", "SIZE", "Take this much of the memory back once the VM runs",
                [this](const std::string& text) { run_.balloon_bytes = vm::parse_size(text); });
  options.value("cpuset-cpus", "LIST", "CPUs of the host to run on: 0-2,5",
                [this](const std::string& text) { run_.cpuset_cpus = parse_host_cpus(text); });
  options.value("rootfs-size", "SIZE", "Of the VM's own disk; default 10g",
                [this](const std::string& text) { run_.rootfs_bytes = vm::parse_size(text); });
  options.value("engine", "ENGINE", "What runs the container: podman, the default, or crun",
                [this](const std::string& text) { run_.engine = vm::parse_engine(text); });
  options.value("hypervisor", "NAME", "auto or qemu; default auto",
                [this](const std::string& text) {
                  run_.hypervisor = vm::parse_hypervisor(text);
                  if (run_.hypervisor == vm::HypervisorChoice::kFirecracker) {
                    throw not_in_this_version("hypervisor firecracker", "use --hypervisor qemu");
                  }
                });
  options.value("accel", "NAME", "auto, kvm or tcg; default auto",
                [this](const std::string& text) { run_.accel = vm::parse_accel(text); });
  options.value("kernel", "FILE", "Instead of the one fcvm setup has made", run_.kernel);
  options.value("kernel-args", "TEXT", "Put behind the kernel's command line",
                [this](const std::string& text) {
                  if (!base::is_utf8(text)) throw base::Error("it is no UTF-8 text");
                  run_.kernel_args = text;
                });
  options.value(
      "snapshot", "WHEN", "off; warm start is not in this version", [](const std::string& text) {
        if (text == "auto") throw not_in_this_version("warm start", "use --snapshot off");
        if (text != "off") {
          throw base::Error(base::cat("unknown value ", base::quoted(text), ": it is auto or off"));
        }
      });
}

void RunFlags::declare_network(Options& options) {
  options.value("network", "MODE", "none, the default and only one of this version",
                [](const std::string& text) {
                  if (vm::parse_network(text) != vm::NetworkMode::kNone) {
                    throw not_in_this_version(base::cat("network mode ", text),
                                              "use --network none");
                  }
                });
  options.list("publish,p", "PORTS", "Needs a network", [](const std::string& text) {
    static_cast<void>(vm::parse_publish(text));
    throw not_in_this_version("published ports", kOnlyNone);
  });
  options.list("dns", "ADDRESS", "Needs a network", [](const std::string& text) {
    static_cast<void>(vm::parse_ip(text));
    throw not_in_this_version("name servers", kOnlyNone);
  });
  for (const char* name : {"dns-search", "rootless-backend", "network-allow"}) {
    options.list(name, "VALUE", "Needs a network", [](const std::string&) {
      throw not_in_this_version("network for it", kOnlyNone);
    });
  }
  options.list("add-host", "NAME:IP", "Add a line to /etc/hosts", [this](const std::string& text) {
    run_.add_hosts.push_back(vm::parse_add_host(text));
  });
}

void RunFlags::declare_files(Options& options) {
  options.list("map,v", "HOST:GUEST[:ro]", "Not in this version", [](const std::string& text) {
    static_cast<void>(vm::parse_volume(text));
    throw not_in_this_version("mapped folders", "put the files into the image");
  });
  options.list("disk", "FILE:GUEST[:ro]", "Mount the ext4 file system in a file or block device",
               [this](const std::string& text) { run_.disks.push_back(vm::parse_volume(text)); });
  options.list("map-uid", "MAPPING", "Not in this version",
               [](const std::string&) { throw not_in_this_version("mapped folders", ""); });
  options.list("tmpfs", "DIR[:OPTIONS]", "Mount a tmpfs",
               [this](const std::string& text) { run_.tmpfs.push_back(vm::parse_tmpfs(text)); });
  options.flag("read-only", run_.read_only, "Make the container's root read-only");
}

void RunFlags::declare_process(Options& options) {
  options.list("env,e", "NAME[=VALUE]", "Set a variable; without a value copy it from the host",
               [this](const std::string& text) { env_.push_back(text); });
  options.list("env-file", "FILE", "Set the variables of a file, one a line",
               [this](const std::string& text) { env_files_.push_back(text); });
  options.value("user,u", "USER[:GROUP]", "Names of the image, or numbers", run_.user);
  options.value("workdir,w", "DIR", "Where the command starts", run_.workdir);
  options.value("entrypoint", "COMMAND", "Instead of the image's: a word, or a JSON array",
                [this](const std::string& text) { run_.entrypoint = vm::parse_entrypoint(text); });
  options.value("hostname", "NAME", "Of the container; default the VM's ID",
                [this](const std::string& text) { run_.hostname = vm::parse_hostname(text); });
  options.list("label,l", "KEY[=VALUE]", "Put a label on the VM",
               [this](const std::string& text) { vm::add_label(text, run_.labels); });
  options.flag("privileged", run_.privileged, "Every capability, every device of the VM");
  options.list("cap-add", "LIST", "Add capabilities", [this](const std::string& text) {
    for (auto& name : vm::split_commas(text)) run_.cap_add.push_back(std::move(name));
  });
  options.list("cap-drop", "LIST", "Take capabilities away", [this](const std::string& text) {
    for (auto& name : vm::split_commas(text)) run_.cap_drop.push_back(std::move(name));
  });
  options.list("ulimit", "NAME=SOFT[:HARD]", "Limit a resource", [this](const std::string& text) {
    if (text == "host") {
      run_.ulimit_host = true;
    } else {
      run_.ulimits.push_back(vm::parse_ulimit(text));
    }
  });
  options.flag("init", run_.init, "Run an init that reaps and passes signals on");
}

vm::RunOptions RunFlags::finish(const std::vector<std::string>& arguments,
                                const std::vector<std::string>& host_environment) {
  if (arguments.empty()) throw base::Error("an IMAGE has to be named");
  run_.image = arguments.front();
  run_.command.assign(arguments.begin() + 1, arguments.end());
  run_.network = vm::NetworkMode::kNone;
  run_.snapshot_auto = false;
  run_.env = read_environment(env_files_, env_, host_environment);
  if (no_health_check_) {
    if (!run_.health.command.empty()) {
      throw base::Error("--health-cmd and --no-healthcheck exclude each other");
    }
    run_.health.command = {"NONE"};
  }
  if (run_.remove && run_.restart && *run_.restart != vm::RestartPolicy::kNo) {
    throw base::Error("the --rm option conflicts with --restart");
  }
  if (run_.balloon_bytes >= run_.memory_bytes) {
    throw base::Error("--balloon: it leaves the VM no memory");
  }
  return run_;
}

image::EnsureOptions RunFlags::ensure_options() const {
  image::EnsureOptions ensure;
  source_.finish(ensure);
  ensure.pull = run_.pull;
  return ensure;
}

std::map<std::string, std::string> read_environment(
    const std::vector<std::string>& files, const std::vector<std::string>& variables,
    const std::vector<std::string>& host_environment) {
  std::map<std::string, std::string> env;
  for (const auto& file : files) {
    base::with_context("--env-file", [&] {
      vm::add_env_file(base::read_file(file, 16 << 20), file, host_environment, env);
    });
  }
  for (const auto& variable : variables) {
    base::with_context("--env", [&] { vm::add_env(variable, host_environment, env); });
  }
  return env;
}

}  // namespace cli
