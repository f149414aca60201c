#include <algorithm>

#include "base/error.h"
#include "wire/detail/json_fields.h"

namespace wire::detail {
namespace {

// RFC 4648, section 4.
constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool decode_base64(std::string_view text, std::string& out) {
  if (text.size() % 4 != 0) return false;
  std::size_t padding = 0;
  while (padding < 2 && !text.empty() && text.back() == '=') {
    text.remove_suffix(1);
    ++padding;
  }
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto digit = kBase64.find(c);
    if (digit == std::string_view::npos) return false;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(static_cast<unsigned char>(bits >> count));
    }
  }
  // Left over are zero bits only, or two texts would mean the same bytes.
  return (bits & ((1U << count) - 1)) == 0 && (text.size() + padding) % 4 == 0;
}

}  // namespace

JsonFields::JsonFields(const nlohmann::json& value, std::string what)
    : value_(value), what_(std::move(what)) {
  if (!value_.is_object()) throw base::Error(what_ + " is not a JSON object");
}

void JsonFields::fail(const char* name, std::string_view why) const {
  throw base::Error(base::cat(what_, ": field '", name, "' ", why));
}

const nlohmann::json& JsonFields::field(const char* name) const {
  const auto it = value_.find(name);
  if (it == value_.end()) fail(name, "is missing");
  return *it;
}

bool JsonFields::boolean(const char* name) const {
  const auto& value = field(name);
  if (!value.is_boolean()) fail(name, "is not a boolean");
  return value.get<bool>();
}

std::string JsonFields::text(const char* name, std::size_t max_bytes) const {
  const auto& value = field(name);
  if (!value.is_string()) fail(name, "is not a string");
  const auto& text = value.get_ref<const std::string&>();
  if (text.size() > max_bytes) fail(name, base::cat("is longer than ", max_bytes, " bytes"));
  if (text.find('\0') != std::string::npos) fail(name, "has a NUL byte");
  return text;
}

std::string JsonFields::path(const char* name, bool may_be_empty) const {
  std::string path = text(name, kMaxPathBytes);
  if (!(path.empty() && may_be_empty) && !is_plain_path(path)) {
    fail(name, "is not an absolute path without '..'");
  }
  return path;
}

std::string JsonFields::base64(const char* name, std::size_t max_bytes) const {
  const std::string encoded = text(name, (max_bytes + 2) / 3 * 4);
  std::string bytes;
  if (!decode_base64(encoded, bytes)) fail(name, "is not base64");
  if (bytes.size() > max_bytes) fail(name, base::cat("is longer than ", max_bytes, " bytes"));
  return bytes;
}

std::int64_t JsonFields::signed_number(const char* name, std::int64_t min, std::int64_t max) const {
  const auto& value = field(name);
  if (!value.is_number_integer()) fail(name, "is not an integer");
  const auto number = value.get<std::int64_t>();
  const bool wraps = value.is_number_unsigned() && number < 0;
  if (wraps || number < min || number > max) fail(name, "is out of range");
  return number;
}

std::uint64_t JsonFields::unsigned_number(const char* name, std::uint64_t min,
                                          std::uint64_t max) const {
  const auto& value = field(name);
  if (!value.is_number_integer()) fail(name, "is not an integer");
  if (!value.is_number_unsigned() && value.get<std::int64_t>() < 0) fail(name, "is negative");
  const auto number = value.get<std::uint64_t>();
  if (number < min || number > max) fail(name, "is out of range");
  return number;
}

JsonFields JsonFields::object(const char* name) const {
  return JsonFields(field(name), base::cat(what_, ": ", name));
}

const nlohmann::json& JsonFields::array(const char* name, std::size_t max_size) const {
  const auto& value = field(name);
  if (!value.is_array()) fail(name, "is not an array");
  if (value.size() > max_size) fail(name, base::cat("has more than ", max_size, " elements"));
  return value;
}

bool is_plain_path(std::string_view path) {
  if (!path.starts_with('/')) return false;
  while (!path.empty()) {
    path.remove_prefix(1);
    const auto slash = std::min(path.find('/'), path.size());
    if (path.substr(0, slash) == "..") return false;
    path.remove_prefix(slash);
  }
  return true;
}

std::string dump(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace wire::detail
