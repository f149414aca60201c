#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace base {

// How many bytes the character takes that `text` begins with; 0 when they are no UTF-8 (overlong
// forms, surrogates and what is beyond U+10FFFF are none) or there is none.
std::size_t utf8_character_bytes(std::string_view text);
bool is_utf8(std::string_view text);
// For one line of a terminal: control characters, also those of U+0080 to U+009F and their bytes
// alone, become spaces.
std::string printable(std::string_view text);

}  // namespace base
