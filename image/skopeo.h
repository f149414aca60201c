// Running skopeo(1), which reads every image format so that we need not.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "image/containers_storage.h"
#include "image/reference.h"
#include "image/source.h"

namespace base {
class Cancellation;
}

namespace image {

struct SkopeoOptions {
  std::string work_directory;        // for its temporary files, which may be as large as the image
  std::uint64_t max_file_bytes = 0;  // RLIMIT_FSIZE of skopeo and its children
  Platform platform;                 // which variant of the image; this machine's when empty
  std::string authfile;              // for registries; empty: where skopeo looks itself
  std::optional<bool> tls_verify;    // for registries
  // Called a few times a second; a text ends skopeo and becomes the error.
  std::function<std::optional<std::string>()> tick;
  const base::Cancellation* cancellation = nullptr;
};

// The image configuration of `reference`, as its bytes are: its SHA-256 is the image id. All throw
// base::Error with what skopeo said, and base::Cancelled.
std::string read_image_config(const Reference& reference, const SkopeoOptions& options);

// Unpacks `reference` into the containers-storage `layout`.
void unpack_image(const Reference& reference, const StorageLayout& layout,
                  const SkopeoOptions& options);

// The reason in the last line of skopeo's stderr: `time="…" level=fatal msg="REASON"`.
std::string skopeo_reason(const std::string& text);

}  // namespace image
