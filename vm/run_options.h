// What `fcvm podman run` was told, after its flags were parsed (vm/flag_parsers.h): plain values,
// used by the command line, the composer and the bundle.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "image/source.h"

namespace vm {

enum class NetworkMode { kNone, kBridged, kRootless };
enum class RestartPolicy { kNo, kOnFailure, kAlways, kUnlessStopped };
enum class Engine { kPodman, kCrun };
enum class HypervisorChoice { kAuto, kQemu, kFirecracker };
enum class AccelChoice { kAuto, kKvm, kTcg };

// One published port; ranges have been taken apart.
struct PortMapping {
  std::string host_ip;          // empty: every address
  std::uint16_t host_port = 0;  // 0: one that is free
  std::uint16_t guest_port = 0;
  bool udp = false;
  bool operator==(const PortMapping&) const = default;
};

// --map, -v and --disk.
struct VolumeMapping {
  std::string source;  // on the host, as given
  std::string target;  // in the container, absolute and cleaned
  bool read_only = false;
  bool operator==(const VolumeMapping&) const = default;
};

struct TmpfsMount {
  std::string target;                // in the container, absolute and cleaned
  std::vector<std::string> options;  // completed as podman completes them; may hold "U"
  bool operator==(const TmpfsMount&) const = default;
};

// --ulimit; kUnlimited is RLIM_INFINITY of setrlimit(2).
struct Ulimit {
  static constexpr std::uint64_t kUnlimited = ~std::uint64_t{0};
  std::string name;  // "nofile"
  std::uint64_t soft = 0;
  std::uint64_t hard = 0;
  bool operator==(const Ulimit&) const = default;
};

struct HostEntry {
  std::string name;
  std::string ip;
  bool operator==(const HostEntry&) const = default;
};

struct HealthOptions {
  std::vector<std::string>
      command;  // {"CMD-SHELL", text}, {"CMD", …} or {"NONE"}; empty: the image's
  std::string url;
  std::optional<std::chrono::nanoseconds> interval;  // 0: no timer
  std::optional<std::chrono::nanoseconds> timeout;
  std::optional<std::chrono::nanoseconds> start_period;
  std::optional<int> retries;
  bool operator==(const HealthOptions&) const = default;
};

struct RunOptions {
  std::string image;
  std::vector<std::string> command;  // after IMAGE

  std::string name;  // empty: one is made up
  bool detach = false;
  bool remove = false;
  bool interactive = false;
  bool tty = false;
  std::string detach_keys = "\x10\x11";  // the bytes themselves: ctrl-p ctrl-q
  std::string cidfile;

  // The VM.
  int cpus = 2;
  std::uint64_t memory_bytes = 512ULL << 20;
  std::vector<int> cpuset_cpus;  // of the host; empty: all
  std::optional<Engine> engine;  // absent: podman, where it can use the image disk
  HypervisorChoice hypervisor = HypervisorChoice::kAuto;
  AccelChoice accel = AccelChoice::kAuto;
  std::string kernel;  // empty: the one from setup
  std::string kernel_args;
  std::uint64_t rootfs_bytes = 0;   // 0: as the base root file system is
  std::uint64_t balloon_bytes = 0;  // 0: no target
  bool snapshot_auto = true;
  bool timings = false;
  image::PullPolicy pull = image::PullPolicy::kMissing;

  // The network.
  std::optional<NetworkMode> network;  // absent: by who runs it
  std::string rootless_backend;
  std::vector<std::string> network_allow;
  std::vector<PortMapping> publish;
  std::vector<std::string> dns;
  std::vector<std::string> dns_search;
  std::vector<HostEntry> add_hosts;

  // Files.
  std::vector<VolumeMapping> maps;
  std::vector<std::string> map_uids;
  std::vector<VolumeMapping> disks;
  std::vector<TmpfsMount> tmpfs;
  bool read_only = false;
  std::uint64_t shm_bytes = 65'536'000;  // podman's default

  // The process.
  std::map<std::string, std::string> env;  // --env-file and --env, in their order of precedence
  std::string user;
  std::string workdir;
  std::optional<std::vector<std::string>> entrypoint;  // {}: the image's is cleared
  std::string hostname;
  std::map<std::string, std::string> labels;
  bool privileged = false;
  std::vector<std::string> cap_add;
  std::vector<std::string> cap_drop;
  std::vector<Ulimit> ulimits;
  bool ulimit_host = false;  // --ulimit host: none are set
  bool init = false;

  // Its life.
  HealthOptions health;
  int stop_signal = 0;  // 0: the image's, else SIGTERM
  std::chrono::seconds stop_timeout{10};
  std::optional<RestartPolicy> restart;  // absent: as kNo
  int restart_max = 0;                   // of kOnFailure; 0: no limit
};

// `fcvm exec` inside the container.
struct ExecOptions {
  std::vector<std::string> command;
  bool tty = false;
  bool privileged = false;
  std::map<std::string, std::string> env;
  std::string user;     // empty: the container's
  std::string workdir;  // empty: the container's
};

}  // namespace vm
