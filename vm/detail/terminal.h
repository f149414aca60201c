#pragma once

#include <termios.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace vm::detail {

struct WindowSize {
  std::uint16_t rows = 0;
  std::uint16_t columns = 0;
};
// {0, 0} when `fd` is no terminal.
WindowSize window_size(int fd);

// Makes a terminal raw while it lives. Restores it as well when a deadly signal that nobody handles
// ends the program. One object at a time.
class RawTerminal {
 public:
  // Throws base::Error. `fd` is borrowed.
  explicit RawTerminal(int fd);
  ~RawTerminal();
  RawTerminal(const RawTerminal&) = delete;
  RawTerminal& operator=(const RawTerminal&) = delete;

  // Raw once more: a shell sets modes of its own while we are stopped.
  void reapply();

 private:
  int fd_;
  termios saved_{};
  termios raw_{};
};

// Looks for the detach sequence in what is typed.
class DetachMatcher {
 public:
  explicit DetachMatcher(std::string keys) : keys_(std::move(keys)) {}

  // Appends to `out` what is certainly not part of the sequence; a beginning of it is held back.
  // True when the sequence is complete; what follows it is dropped.
  bool feed(std::string_view typed, std::string& out);
  // At the end of input: what was held back.
  std::string_view held() const { return std::string_view(keys_).substr(0, matched_); }

 private:
  std::string keys_;
  std::size_t matched_ = 0;
};

}  // namespace vm::detail
