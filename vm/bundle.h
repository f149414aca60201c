// The OCI bundle of a container: the image's configuration and the flags of `podman run` made into
// the config.json that podman would hand to crun, and the files around it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "image/image_meta.h"
#include "vm/capabilities.h"
#include "vm/run_options.h"
#include "wire/boot_plan.h"

namespace vm {

// A device node a privileged container gets (mknod(2); numbers of admin-guide/devices.txt).
struct DeviceNode {
  std::string path;
  char type = 'c';
  unsigned major = 0;
  unsigned minor = 0;
  std::uint32_t mode = 0600;
};

// Devices with fixed numbers that a Linux guest may have. One whose driver is missing opens with
// ENXIO.
std::vector<DeviceNode> common_devices();

// What the bundle has to know of the guest and of the host it comes from.
struct GuestFacts {
  std::string vm_id;  // its first 12 characters are the default host name
  std::string vm_name;
  std::string architecture = "amd64";  // as Go names it
  int last_capability = kLastKnownCapability;
  std::uint64_t pid_max = 32768;  // kernel.pid_max of the guest: the default of nproc
  std::string seccomp_profile;    // text of containers-common's seccomp.json(5)
  std::string seccomp_cache;      // folder for compiled filters; empty: none are kept
  NetworkMode network = NetworkMode::kNone;
  std::string base_hosts;                // text of the host's /etc/hosts, on which podman builds
  std::string container_ip;              // empty with no network
  std::string host_ip;                   // host.containers.internal; empty: not named
  std::vector<std::string> nameservers;  // of the network, used when --dns gives none
  std::vector<std::string> search_domains;
  std::string init_program;  // guest path for --init; empty: the guest has none
  std::vector<DeviceNode> devices = common_devices();
};

// Hands crun a finished filter (docs/adr/0007).
inline constexpr std::string_view kSeccompAnnotation = "run.oci.seccomp_bpf_data";

struct BundleFiles {
  std::string config_json;
  std::vector<wire::PlanFile> files;  // named by config_json
  std::vector<wire::PlanRootEdit> root_edits;
  // Sysctls podman sets in the container's network namespace, which here is the guest's own.
  std::map<std::string, std::string> guest_sysctls;
  std::string hostname;
  std::vector<std::string> command;  // entrypoint and arguments, without --init
  int stop_signal = 15;
  std::string seccomp_filter;  // compiled, as kSeccompAnnotation has it; empty: none
  // What `exec` needs to know later, for make_exec_process; kept beside the VM's record.
  std::string exec_base;
};

// Throws base::Error, in podman's words where it has them: no command, unknown user or group, bad
// capabilities, --init without a program, --dns without a network, a seccomp profile that is
// missing or that this cannot read.
BundleFiles make_bundle(const image::ImageMeta& image, const RunOptions& options,
                        const GuestFacts& facts);

// The process object for a further process in the container (wire/process.h, kExec), as `podman exec`
// makes it: the container's environment, user and capabilities unless told otherwise. `exec_base` is
// that of make_bundle. Throws base::Error for an empty command or a damaged `exec_base`.
std::string make_exec_process(std::string_view exec_base, const ExecOptions& options);

}  // namespace vm
