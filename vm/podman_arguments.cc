#include "vm/podman_arguments.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/json.h"
#include "vm/guest_paths.h"

namespace vm {
namespace {

using base::cat;

std::string limit_text(std::uint64_t limit) {
  return limit == Ulimit::kUnlimited ? "-1" : cat(limit);
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ",") + word;
  return text;
}

// The image id, by which podman finds it whatever its name.
std::string image_id(const image::ImageMeta& image) {
  return image.digest.substr(image.digest.find(':') + 1);
}

class Arguments {
 public:
  void add(std::string argument) { list_.push_back(std::move(argument)); }
  void add(std::string_view name, std::string_view value) { add(cat(name, "=", value)); }
  void flag(const char* name, bool given) {
    if (given) add(name);
  }
  void add_all(const std::vector<std::string>& arguments) {
    list_.insert(list_.end(), arguments.begin(), arguments.end());
  }
  std::vector<std::string> take() { return std::move(list_); }

 private:
  std::vector<std::string> list_;
};

void add_process(const RunOptions& options, Arguments& out) {
  out.flag("--interactive", options.interactive);
  out.flag("--tty", options.tty);
  for (const auto& [name, value] : options.env) out.add("--env", cat(name, "=", value));
  if (!options.user.empty()) out.add("--user", options.user);
  if (!options.workdir.empty()) out.add("--workdir", options.workdir);
  if (options.entrypoint) {
    out.add("--entrypoint",
            options.entrypoint->empty() ? "" : nlohmann::json(*options.entrypoint).dump());
  }
  out.flag("--privileged", options.privileged);
  for (const auto& name : options.cap_add) out.add("--cap-add", name);
  for (const auto& name : options.cap_drop) out.add("--cap-drop", name);
  if (options.ulimit_host) out.add("--ulimit=host");
  for (const Ulimit& limit : options.ulimits) {
    out.add("--ulimit", cat(limit.name, "=", limit_text(limit.soft), ":", limit_text(limit.hard)));
  }
  out.flag("--init", options.init);
}

void add_files(const RunOptions& options, const BundleFiles& bundle, Arguments& out) {
  out.flag("--read-only", options.read_only);
  for (const TmpfsMount& tmpfs : options.tmpfs) {
    out.add("--tmpfs",
            tmpfs.options.empty() ? tmpfs.target : cat(tmpfs.target, ":", joined(tmpfs.options)));
  }
  out.add("--shm-size", cat(options.shm_bytes, "b"));
  // The files the host has written, as with the other engine.
  const std::string access = options.read_only ? "ro" : "rw";
  for (const wire::PlanFile& file : bundle.files) {
    for (const auto& [path, target] : {std::pair{kGuestHostsFile, "/etc/hosts"},
                                       std::pair{kGuestResolvConfFile, "/etc/resolv.conf"}}) {
      if (file.path == path) out.add("--volume", cat(path, ":", target, ":", access));
    }
  }
  for (std::size_t i = 0; i < options.disks.size(); ++i) {
    const VolumeMapping& disk = options.disks[i];
    out.add("--volume",
            cat(kGuestDisksDirectory, "/", i, ":", disk.target, ":", disk.read_only ? "ro" : "rw"));
  }
}

}  // namespace

std::vector<std::string> podman_arguments(const image::ImageMeta& image, const RunOptions& options,
                                          const GuestFacts& facts, const BundleFiles& bundle) {
  Arguments out;
  // Podman ends when it has started the container, whose streams and end are the agent's.
  out.add_all({"run", "--detach", "--replace", "--pull=never", "--log-driver=none",
               "--no-healthcheck", "--network=host", "--no-hosts", "--dns=none"});
  out.add("--name", facts.vm_name);
  out.add("--hostname", bundle.hostname);
  out.add("--stop-signal", cat(bundle.stop_signal));
  out.add("--stop-timeout", cat(options.stop_timeout.count()));
  for (const auto& [key, value] : options.labels) out.add("--label", cat(key, "=", value));
  add_process(options, out);
  add_files(options, bundle, out);
  if (!bundle.seccomp_filter.empty()) {
    out.add("--annotation", cat(kSeccompAnnotation, "=", bundle.seccomp_filter));
  }
  out.add(image_id(image));
  out.add_all(options.command);
  return out.take();
}

}  // namespace vm
