#include "base/utf8.h"

#include <algorithm>

namespace base {
namespace {

// Terminals take U+0080 to U+009F (C1: U+009B is what ESC [ is) as commands, some the bytes, too.
bool is_c1(unsigned char c) {
  return c >= 0x80 && c <= 0x9f;
}

bool begins_with_c1(std::string_view text) {
  return text.size() >= 2 && text[0] == '\xc2' && is_c1(static_cast<unsigned char>(text[1]));
}

}  // namespace

std::size_t utf8_character_bytes(std::string_view text) {
  if (text.empty()) return 0;
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  // The Unicode Standard, table 3-7: what the second byte may be depends on the first.
  std::size_t bytes = 2;
  unsigned char low = 0x80;
  unsigned char high = 0xbf;
  if (first >= 0xc2 && first <= 0xdf) {
    bytes = 2;
  } else if (first >= 0xe0 && first <= 0xef) {
    bytes = 3;
    if (first == 0xe0) low = 0xa0;
    if (first == 0xed) high = 0x9f;
  } else if (first >= 0xf0 && first <= 0xf4) {
    bytes = 4;
    if (first == 0xf0) low = 0x90;
    if (first == 0xf4) high = 0x8f;
  } else {
    return 0;
  }
  if (text.size() < bytes || at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < bytes; ++i) {
    if (at(i) < 0x80 || at(i) > 0xbf) return 0;
  }
  return bytes;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t bytes = utf8_character_bytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto first = static_cast<unsigned char>(text.front());
    const std::size_t bytes = utf8_character_bytes(text);
    const bool control = bytes == 0   ? is_c1(first)
                         : bytes == 1 ? first < 0x20 || first == 0x7f
                                      : begins_with_c1(text);
    const std::string_view character = text.substr(0, std::max<std::size_t>(bytes, 1));
    if (control) {
      out += ' ';
    } else {
      out += character;
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace base
