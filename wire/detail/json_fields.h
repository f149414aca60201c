// Reading the fields of an untrusted JSON object, and writing text that may not be UTF-8.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace wire::detail {

inline constexpr std::size_t kMaxPathBytes = 4095;  // PATH_MAX of linux/limits.h, without the NUL

// Every field asked for has to be there, with the right type and within its bounds; others are
// ignored. Errors name `what` and the field. Lives no longer than the JSON value it looks at.
class JsonFields {
 public:
  JsonFields(const nlohmann::json& value, std::string what);

  bool boolean(const char* name) const;
  // Without NUL bytes, for most of these end in system calls.
  std::string text(const char* name, std::size_t max_bytes) const;
  // An absolute path without "..", or nothing where `may_be_empty`.
  std::string path(const char* name, bool may_be_empty = false) const;
  std::string base64(const char* name, std::size_t max_bytes) const;
  template <typename T>
  T number(const char* name, T min = std::numeric_limits<T>::min(),
           T max = std::numeric_limits<T>::max()) const {
    if constexpr (std::is_signed_v<T>) {
      return static_cast<T>(signed_number(name, min, max));
    } else {
      return static_cast<T>(unsigned_number(name, min, max));
    }
  }
  // The value paired with the text of the field.
  template <typename T, std::size_t N>
  T one_of(const char* name, const std::pair<std::string_view, T> (&choices)[N]) const {
    const std::string found = text(name, 64);
    for (const auto& [word, value] : choices) {
      if (word == found) return value;
    }
    fail(name, "is of an unknown kind");
  }
  JsonFields object(const char* name) const;
  const nlohmann::json& array(const char* name, std::size_t max_size) const;

  [[noreturn]] void fail(const char* name, std::string_view why) const;

 private:
  const nlohmann::json& field(const char* name) const;
  std::int64_t signed_number(const char* name, std::int64_t min, std::int64_t max) const;
  std::uint64_t unsigned_number(const char* name, std::uint64_t min, std::uint64_t max) const;

  const nlohmann::json& value_;
  std::string what_;
};

// True for the text of a path field.
bool is_plain_path(std::string_view path);

template <typename T, std::size_t N>
std::string_view word_of(T value, const std::pair<std::string_view, T> (&choices)[N]) {
  for (const auto& [word, known] : choices) {
    if (known == value) return word;
  }
  return {};
}

// Bytes that are not UTF-8 become U+FFFD.
std::string dump(const nlohmann::json& value);

}  // namespace wire::detail
