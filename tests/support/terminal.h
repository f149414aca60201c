// A program on a pseudo-terminal of its own, with the test at the keyboard and the screen.
#pragma once

#include <termios.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/process.h"

namespace tests {

// Destroying it kills the program. Single-threaded: the screen is read only inside calls. Throws
// base::Error when the terminal cannot be made or the program cannot be started.
class Terminal {
 public:
  // The terminal is the program's controlling terminal and its stdin, stdout and stderr. An stdout
  // or stderr given here (>= 0) replaces it.
  Terminal(const std::vector<std::string>& argv, unsigned short rows, unsigned short columns,
           int out_fd = -1, int err_fd = -1);
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  pid_t pid() const { return child_.pid(); }
  void type(std::string_view keys);
  // The kernel sends SIGWINCH to the program.
  void resize(unsigned short rows, unsigned short columns);
  void signal(int number) const { child_.kill(number); }

  // True as soon as the screen shows `text` behind what an earlier call found; everything up to its
  // end counts as found. False at the end of the program without it, or after `limit`.
  bool shows(std::string_view text, std::chrono::milliseconds limit = std::chrono::seconds(60));
  // All that was ever shown, as the bytes came.
  const std::string& screen() const { return screen_; }

  // The settings of the terminal as the program leaves or holds them.
  termios settings() const;

  // Waits for the program's end and reads what is left to show. The shell's status; -1 when it did
  // not end within `limit`.
  int wait(std::chrono::milliseconds limit = std::chrono::seconds(60));

 private:
  // Waits for something to show or the program's end; false when neither came in time.
  bool read_more(std::chrono::steady_clock::time_point until);

  base::Fd keyboard_;  // the master side
  base::Fd device_;    // the slave side, kept open so that settings outlive the program
  base::ChildProcess child_;
  std::string screen_;
  std::size_t found_ = 0;
  std::optional<base::ExitStatus> status_;
};

}  // namespace tests
