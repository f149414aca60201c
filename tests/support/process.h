// Programs run by tests: their streams caught separately, in the background, and with a deadline.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <iosfwd>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tests {

// What a program did. `status` is the shell's: the exit code, or 128 + the signal that ended it.
struct Outcome {
  int status = -1;
  bool timed_out = false;  // it was killed at its deadline
  std::string out;
  std::string err;
};
std::ostream& operator<<(std::ostream& out, const Outcome& outcome);

struct Command {
  std::vector<std::string> argv;
  // Written to its stdin, which is closed afterwards. Absent: stdin is /dev/null.
  std::optional<std::string> input;
  // stdin is a pipe that stays open for Process::write().
  bool keep_input_open = false;
  std::vector<std::string> env;  // NAME=value, added to the test's own
  // (ours, number in the program): instead of what the members above say and of the catching.
  std::vector<std::pair<int, int>> fds;
  // Counted from the start; the program is killed then.
  std::chrono::milliseconds deadline = std::chrono::seconds(120);
};

// A program that runs beside the test. Its stdout and stderr are read by a thread of this object,
// so that it never stalls on a test that looks elsewhere. Destroying the object kills the program.
// Throws base::Error when the program cannot be started.
class Process {
 public:
  explicit Process(Command command);
  Process(Process&&) noexcept;
  Process& operator=(Process&&) noexcept;
  ~Process();

  pid_t pid() const;
  void signal(int number) const;
  void write(std::string_view text);
  void close_input();

  // What it wrote up to now.
  std::string out() const;
  std::string err() const;
  // True as soon as its stdout (stderr) holds `text`; false when it ended without or `limit` passed.
  bool wait_for_out(std::string_view text,
                    std::chrono::milliseconds limit = std::chrono::seconds(60)) const;
  bool wait_for_err(std::string_view text,
                    std::chrono::milliseconds limit = std::chrono::seconds(60)) const;
  bool ended() const;
  // Waits for its end, at most to its deadline.
  Outcome wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Runs `command` to its end.
Outcome run(Command command);

}  // namespace tests
