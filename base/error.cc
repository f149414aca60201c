#include "base/error.h"

#include <cerrno>

namespace base {
namespace {

std::string describe(int errnum, std::string_view verb, std::string_view object) {
  std::string text(verb);
  if (!object.empty()) text += ' ' + quoted(object);
  if (errnum != 0) text += ": " + std::generic_category().message(errnum);
  return text;
}

}  // namespace

Error::Error(int errnum, std::string_view verb, std::string_view object)
    : std::system_error(errnum, std::generic_category()),
      message_(describe(errnum, verb, object)) {}

Error::Error(std::string message)
    : std::system_error(0, std::generic_category()), message_(std::move(message)) {}

Error& Error::add_context(std::string_view context) {
  message_ = std::string(context) + ": " + message_;
  return *this;
}

Error& Error::set_hint(std::string hint) {
  hint_ = std::move(hint);
  return *this;
}

void throw_errno(std::string_view verb, std::string_view object) {
  const int errnum = errno;
  throw Error(errnum, verb, object);
}

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\'' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out + '\'';
}

}  // namespace base
