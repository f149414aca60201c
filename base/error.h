#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>
#include <variant>

namespace base {

// A failure: a verb, the quoted object it failed on, errno where there is one, and the context that
// module boundaries added on the way up. what() reads outermost first:
//   starting VM 'web1': opening '/x/disk.raw': No such file or directory
// code() is in std::generic_category(); its value is 0 where no system call failed.
class Error : public std::system_error {
 public:
  // "<verb> '<object>': <strerror>"; without an object "<verb>: <strerror>".
  Error(int errnum, std::string_view verb, std::string_view object = {});

  // A failure without errno; `message` is used as it stands.
  explicit Error(std::string message);

  const char* what() const noexcept override { return message_.c_str(); }

  int errnum() const noexcept { return code().value(); }

  // What the user can do about it, one line without a full stop; may be empty.
  const std::string& hint() const noexcept { return hint_; }

  Error& add_context(std::string_view context);
  Error& set_hint(std::string hint);

 private:
  std::string message_;
  std::string hint_;
};

// Cancellation by the user (Ctrl-C): deliberately not an Error, so no handler of errors eats it.
struct Cancelled {};

// Throws Error for the current errno, which is read before anything else runs.
[[noreturn]] void throw_errno(std::string_view verb, std::string_view object = {});

// Runs `f`; an Error that leaves it gets `context` in front ("starting VM 'web1'").
template <typename F>
auto with_context(std::string_view context, F&& f) -> std::invoke_result_t<F> {
  try {
    return std::forward<F>(f)();
  } catch (Error& error) {
    error.add_context(context);
    throw;
  }
}

// For failure that is a normal answer: holds a T or an Error.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool ok() const noexcept { return state_.index() == 0; }
  explicit operator bool() const noexcept { return ok(); }

  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  const Error& error() const { return std::get<1>(state_); }

  // The value, or throws the error.
  T take() && {
    if (!ok()) throw std::get<1>(std::move(state_));
    return std::get<0>(std::move(state_));
  }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool ok() const noexcept { return !error_.has_value(); }
  explicit operator bool() const noexcept { return ok(); }
  const Error& error() const { return *error_; }
  void take() && {
    if (error_) throw std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

// Joins its arguments (strings and numbers) into one string.
namespace detail {
inline void append(std::string& out, std::string_view piece) {
  out += piece;
}
inline void append(std::string& out, const char* piece) {
  out += piece;
}
inline void append(std::string& out, char piece) {
  out += piece;
}
template <typename N>
requires std::is_arithmetic_v<N>
void append(std::string& out, N number) {
  out += std::to_string(number);
}
}  // namespace detail

template <typename... Pieces>
std::string cat(const Pieces&... pieces) {
  std::string out;
  (detail::append(out, pieces), ...);
  return out;
}

// `text` in single quotes, control characters and quotes escaped: fit for an error line.
std::string quoted(std::string_view text);

}  // namespace base
