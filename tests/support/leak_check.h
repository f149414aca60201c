// Finds what a test left on the machine.
//
//   LeakCheck before;
//   … start VMs, kill things …
//   EXPECT_EQ(before.diff(), "");
//
// Compared are: processes that belong to this test or to the data directory, mounts of the data
// directory in any mount namespace, loop devices and memfds, listening and bound UNIX sockets,
// named network namespaces, network interfaces, files of the data directory that only a VM has,
// files named fcvm* in the machine's run and temporary directories, and the descriptors and
// children of the calling process.
//
// A process belongs to the test when it carries the tag LeakCheck puts in the environment
// (FCVM_TEST_TAG, inherited by everything the test starts), names the data directory on its command
// line, or holds a file of the data directory open. The calling process and its ancestors never
// count.
//
// Needs root to see other users' processes; without it, sees only its own. Not for use from several
// threads at once: it sets an environment variable.
#pragma once

#include <chrono>
#include <filesystem>
#include <map>
#include <string>

namespace tests {

class LeakCheck {
 public:
  // Takes the first snapshot and sets FCVM_TEST_TAG for the life of the object. `directory` is made
  // absolute; it need not exist yet.
  explicit LeakCheck(std::filesystem::path directory = {});
  LeakCheck(const LeakCheck&) = delete;
  LeakCheck& operator=(const LeakCheck&) = delete;
  ~LeakCheck();

  // One line for each thing that is there now and was not at construction; empty when nothing is.
  // Processes take a moment to die after their client returned, and /proc reports no events: the
  // machine is looked at again until nothing is left or `settle` has passed.
  std::string diff(std::chrono::milliseconds settle = std::chrono::seconds(5)) const;

 private:
  // What there is, and how often.
  using Snapshot = std::map<std::string, int>;
  Snapshot take() const;

  std::filesystem::path directory_;
  std::string tag_;
  std::string outer_tag_;  // of the check around this one
  Snapshot before_;
};

}  // namespace tests
