// The host's podman, for tests that compare fcvm with it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/support/process.h"
#include "tests/support/temp_dir.h"

namespace tests {

// The beginning of a podman command line that works on this machine: "podman" and its global
// options. crun refuses a machine whose cgroup hierarchy is hybrid; there runc is used, when
// installed.
std::vector<std::string> host_podman();

// Options of `podman run` that keep the container within this process's own resource limits:
// podman's defaults exceed them where root has no CAP_SYS_RESOURCE.
std::vector<std::string> host_podman_run_options();

// podman with a storage of its own that holds one image, gone with the object.
class HostPodman {
 public:
  // `image` is any reference podman pulls, an "oci-archive:FILE" for instance. Throws
  // std::runtime_error with podman's words when it does not take it.
  explicit HostPodman(const std::string& image);

  // `podman run --rm --network none FLAGS… IMAGE COMMAND…`
  Outcome run(const std::vector<std::string>& flags, const std::vector<std::string>& command,
              std::optional<std::string> input = std::nullopt) const;
  // Any other command: `podman ARGS…`; "IMAGE" as an argument is the image.
  Outcome call(std::vector<std::string> args,
               std::optional<std::string> input = std::nullopt) const;
  // The command line of run().
  std::vector<std::string> run_argv(const std::vector<std::string>& flags,
                                    const std::vector<std::string>& command) const;

 private:
  std::vector<std::string> argv(const std::vector<std::string>& args) const;

  TempDir storage_;
  std::string image_id_;
};

}  // namespace tests
