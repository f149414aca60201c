#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wire {

// What a helper of the agent's does (ProcessStart::Kind::kHelper): a process of its own beside the
// container, so that slow files never hold the agent up. It ends with 0, or with 1 and one line on
// its stderr that says why.
struct HelperRequest {
  enum class Verb {
    kTop,  // writes the container's processes to its stdout (wire/process_list.h)
    kGet,  // archives `path` to its stdout (wire/tree.h)
    kPut,  // unpacks the archive on its stdin at `path`
  };
  Verb verb = Verb::kTop;
  std::string path;  // of the container, absolute; "/." and "/" at its end have their meaning
  bool any_archive = false;  // these as ReceiveOptions has them
  bool overwrite = false;
  bool keep_owner = false;
  // Whose everything becomes otherwise: as podman's --user, by the container's own files.
  std::string user;
};

std::string to_json(const HelperRequest& request);
// Throws base::Error.
HelperRequest parse_helper_request(std::string_view json);

}  // namespace wire
