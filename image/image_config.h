// The image configuration as it comes out of an image: hostile bytes.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "image/image_meta.h"

namespace image {

inline constexpr std::size_t kMaxImageConfigBytes = 4 << 20;

struct ParsedImageConfig {
  std::string created;
  std::string architecture;
  std::string os;
  ImageConfig config;
  std::vector<std::string> diff_ids;  // bottom first
};

// Reads an OCI or Docker image configuration. Absent and null members count as empty; a member of
// the wrong type, a NUL or an over-long text, too many entries, or a name=value pair without a name
// throw base::Error. Members it does not know are skipped.
ParsedImageConfig parse_image_config(std::string_view json);

}  // namespace image
