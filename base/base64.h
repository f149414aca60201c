#pragma once

#include <string>
#include <string_view>

namespace base {

// RFC 4648, with padding.
std::string encode_base64(std::string_view bytes);

}  // namespace base
