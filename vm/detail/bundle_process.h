// The process object of an OCI configuration, and what `exec` later derives from it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/user_lookup.h"
#include "vm/bundle.h"

namespace vm::detail {

struct ProcessParts {
  std::string user_spec;  // "", "app", "1000:10" …
  base::UserInfo user;
  std::string working_dir;
  bool working_dir_from_image = false;  // podman makes it when it is missing
  std::string hostname;
  std::vector<std::string> command;  // entrypoint and arguments, without init
  std::vector<std::string> bounding;
  base::UserFileLines user_lines;  // to be added to the container's passwd and group
};

// Throws base::Error.
ProcessParts resolve_process(const image::ImageMeta& image, const RunOptions& options,
                             const GuestFacts& facts);

// In the container: where podman puts the init program.
inline constexpr std::string_view kInitInContainer = "/run/podman-init";

nlohmann::json process_json(const image::ImageMeta& image, const RunOptions& options,
                            const GuestFacts& facts, const ProcessParts& parts);

std::string exec_base_json(const image::ImageMeta& image, const RunOptions& options,
                           const GuestFacts& facts, const ProcessParts& parts);

}  // namespace vm::detail
