// The packaged podman as the judge of our bundles: it runs with a store of its own in a temporary
// directory and in a mount namespace of its own, so that nothing of it touches the machine's podman.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/process.h"
#include "image/image_meta.h"
#include "tests/support/temp_dir.h"
#include "vm/bundle.h"

namespace vm::testing {

// A mount namespace for this process; the destructor goes back to the one before. Needs one thread.
class PrivateMounts {
 public:
  enum class Cgroups {
    kV2,        // the unified hierarchy, as in a guest
    kRunnable,  // what crun can run on: a hybrid layout loses its unified part
  };
  explicit PrivateMounts(Cgroups cgroups);
  ~PrivateMounts();
  PrivateMounts(const PrivateMounts&) = delete;
  PrivateMounts& operator=(const PrivateMounts&) = delete;

 private:
  base::Fd before_;
};

// Why the oracle cannot work here; empty when it can.
std::string oracle_missing();

class PodmanOracle {
 public:
  // Makes the image "plain" (busybox, CMD sh) and "full" (entrypoint, user, volume …).
  PodmanOracle();
  ~PodmanOracle();

  // What fcvm would know of the same image.
  image::ImageMeta meta(const std::string& name) const;
  const std::string& rootfs() const { return rootfs_; }
  const tests::TempDir& directory() const { return directory_; }

  base::CommandResult podman(const std::vector<std::string>& arguments) const;

  // The configuration `podman run FLAGS IMAGE COMMAND` gives to its runtime; nothing is started. A
  // null value and `error` when podman refuses.
  nlohmann::json configuration(const std::vector<std::string>& arguments, std::string* error) const;

  // The process object `podman exec ARGUMENTS` gives to its runtime, in a running container.
  nlohmann::json exec_process(const std::vector<std::string>& arguments) const;

 private:
  std::vector<std::string> command(const std::string& runtime) const;

  tests::TempDir directory_;
  std::string rootfs_;
};

// Flags of `run`, IMAGE and its command, parsed as the command line parses them.
RunOptions parse_run_flags(const std::vector<std::string>& arguments);

// Facts that make our bundle comparable to podman's: its container id, this host's limits.
GuestFacts comparable_facts(const std::string& container_id);

// The capabilities this host can give: podman drops the others.
std::vector<std::string> host_bounding_set();
// Takes the others out of every set of an OCI capabilities object.
void remove_unavailable_capabilities(nlohmann::json& capabilities);

}  // namespace vm::testing
