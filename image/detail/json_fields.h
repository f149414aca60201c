// Strict access to members of parsed JSON: absent and null are empty, another type is an error.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace image::detail {

[[noreturn]] inline void bad_field(std::string_view name, std::string_view why) {
  throw base::Error(base::cat("member ", base::quoted(name), " ", why));
}

inline const nlohmann::json* find(const nlohmann::json& object, const char* name) {
  const auto member = object.find(name);
  return member == object.end() || member->is_null() ? nullptr : &*member;
}

inline std::string checked_text(const nlohmann::json& value, std::string_view name) {
  if (!value.is_string()) bad_field(name, "is not a text");
  const auto& text = value.get_ref<const std::string&>();
  // Every text ends up in an argument, an environment or a path some day.
  if (text.find('\0') != std::string::npos) bad_field(name, "holds a NUL");
  return text;
}

inline std::string text_field(const nlohmann::json& object, const char* name) {
  const nlohmann::json* value = find(object, name);
  return value == nullptr ? std::string() : checked_text(*value, name);
}

inline std::int64_t integer_field(const nlohmann::json& object, const char* name) {
  const nlohmann::json* value = find(object, name);
  if (value == nullptr) return 0;
  if (!value->is_number_integer()) bad_field(name, "is not an integer");
  if (value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX) {
    bad_field(name, "is too large");
  }
  return value->get<std::int64_t>();
}

inline std::vector<std::string> text_list_field(const nlohmann::json& object, const char* name,
                                                std::size_t max_entries) {
  std::vector<std::string> out;
  const nlohmann::json* value = find(object, name);
  if (value == nullptr) return out;
  if (!value->is_array()) bad_field(name, "is not a list");
  if (value->size() > max_entries) bad_field(name, "has too many entries");
  for (const auto& entry : *value) out.push_back(checked_text(entry, name));
  return out;
}

// An empty object where it is absent.
inline const nlohmann::json& object_field(const nlohmann::json& object, const char* name,
                                          std::size_t max_entries) {
  static const nlohmann::json empty = nlohmann::json::object();
  const nlohmann::json* value = find(object, name);
  if (value == nullptr) return empty;
  if (!value->is_object()) bad_field(name, "is not an object");
  if (value->size() > max_entries) bad_field(name, "has too many entries");
  return *value;
}

}  // namespace image::detail
