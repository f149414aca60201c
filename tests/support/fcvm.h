// The fcvm of this build, run by tests against the data directory of the tests.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/leak_check.h"
#include "tests/support/paths.h"
#include "tests/support/process.h"
#include "tests/support/requirements.h"

namespace tests {

// "<bin>/fcvm --data-dir <data> ARGS…".
std::vector<std::string> fcvm_argv(const std::vector<std::string>& args);
// The same as a command whose stdin is /dev/null.
Command fcvm_command(const std::vector<std::string>& args);

// Runs it to its end.
Outcome fcvm(const std::vector<std::string>& args);
Outcome fcvm(const std::vector<std::string>& args, std::string input);

// "<prefix>-<pid>-<n>": a name no other test has.
std::string unique_name(std::string_view prefix);

// The image most tests run.
std::string busybox();

// The engine these tests run containers with: $FCVM_TEST_ENGINE, crun unless it is set.
std::string engine();

// "podman run FLAGS… IMAGE COMMAND…" with that engine and what makes a test's VM small: one vCPU,
// 128 MiB, no network.
std::vector<std::string> run_args(const std::vector<std::string>& flags,
                                  const std::vector<std::string>& command,
                                  const std::string& image = busybox());
Outcome run_container(const std::vector<std::string>& flags,
                      const std::vector<std::string>& command);

// A VM started with -d, removed by force when the object goes. Its container sleeps unless told
// otherwise, and is waited for when it says that it is ready. Throws std::runtime_error with fcvm's own words when it does not start.
class Vm {
 public:
  explicit Vm(std::vector<std::string> flags = {},
              std::vector<std::string> command = sleeping_command());
  Vm(const Vm&) = delete;
  Vm& operator=(const Vm&) = delete;
  ~Vm();

  // Says "ready", sleeps for good and ends at once on SIGTERM.
  static std::vector<std::string> sleeping_command();
  // A shell command that says "ready" and sleeps; on `signal` ("USR1") it does `action`. A first
  // process ignores signals it has no handler for, so nothing may be sent before it is ready.
  static std::vector<std::string> sleeping_command(const std::string& signal,
                                                   const std::string& action);

  const std::string& name() const { return name_; }
  const std::string& id() const { return id_; }
  // `fcvm exec FLAGS… NAME COMMAND…`
  Outcome exec(const std::vector<std::string>& command,
               const std::vector<std::string>& flags = {}) const;

 private:
  std::string name_;
  std::string id_;
};

// `fcvm rm -f NAME`, whatever becomes of it, when it goes out of scope.
class RemoveAtEnd {
 public:
  explicit RemoveAtEnd(std::string name) : name_(std::move(name)) {}
  RemoveAtEnd(const RemoveAtEnd&) = delete;
  RemoveAtEnd& operator=(const RemoveAtEnd&) = delete;
  ~RemoveAtEnd();

 private:
  std::string name_;
};

// The value at a JSON pointer ("/State/Status") of `fcvm inspect NAME`, as text; empty when there is
// no such VM or value.
std::string inspect(const std::string& name, const std::string& pointer);

// Waits until `inspect NAME` says one of `statuses` (a comma list); the last status seen.
std::string wait_for_status(const std::string& name, std::string_view statuses,
                            std::chrono::milliseconds limit = std::chrono::seconds(60));

// Processes whose command line holds both texts; never the calling process.
std::vector<int> find_processes(std::string_view first, std::string_view second);
bool wait_for_end_of(int pid, std::chrono::milliseconds limit = std::chrono::seconds(30));

}  // namespace tests
