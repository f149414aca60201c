#pragma once

#include <functional>
#include <utility>
#include <vector>

namespace base {

// Steps that must all hold: each pushes its undo; unless commit() is called the undos run, newest
// first, when this goes out of scope. An undo that throws is passed over: the others still run, and
// what it was to undo is left.
class Rollback {
 public:
  Rollback() = default;
  Rollback(const Rollback&) = delete;
  Rollback& operator=(const Rollback&) = delete;
  ~Rollback() {
    for (auto undo = undos_.rbegin(); undo != undos_.rend(); ++undo) {
      try {
        (*undo)();
      } catch (...) {
        // Whatever made this scope end is what the caller hears of.
      }
    }
  }
  void push(std::function<void()> undo) { undos_.push_back(std::move(undo)); }
  void commit() { undos_.clear(); }

 private:
  std::vector<std::function<void()>> undos_;
};

}  // namespace base
