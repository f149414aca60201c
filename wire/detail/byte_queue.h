#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace wire::detail {

// Bytes appended at the back and taken from the front, each moved a bounded number of times.
class ByteQueue {
 public:
  bool empty() const { return head_ == bytes_.size(); }
  std::size_t size() const { return bytes_.size() - head_; }
  // Valid until the next call of append, pop or clear.
  std::string_view front() const { return std::string_view(bytes_).substr(head_); }

  void append(std::string_view data) {
    // Moving at most as many bytes as were popped since the last move keeps the cost linear.
    if (head_ >= size()) {
      bytes_.erase(0, head_);
      head_ = 0;
    }
    bytes_ += data;
  }

  void pop(std::size_t bytes) {
    head_ += bytes;
    if (head_ < bytes_.size()) return;
    if (bytes_.capacity() > kKeptBytes) {
      clear();
    } else {
      bytes_.clear();
      head_ = 0;
    }
  }

  // Gives the memory back.
  void clear() {
    std::string().swap(bytes_);
    head_ = 0;
  }

 private:
  // An idle queue keeps no more than this.
  static constexpr std::size_t kKeptBytes = 64 * 1024;

  std::string bytes_;
  std::size_t head_ = 0;
};

}  // namespace wire::detail
