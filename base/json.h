#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace base {

// Parses JSON from anywhere, hostile input included: refuses text over `max_bytes`, nesting over
// `max_depth`, invalid UTF-8 and duplicate trailing content. Throws base::Error naming the byte.
nlohmann::json parse_json(std::string_view text, std::size_t max_bytes = 8 << 20,
                          int max_depth = 64);

}  // namespace base
