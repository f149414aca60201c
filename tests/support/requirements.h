// What a test needs from the machine. A test that cannot run here is skipped with the reason,
// unless the environment variable REQUIRE_TESTS (a comma list of labels: "root,vm,docker") names
// its label: then it fails with the same reason, so that a CI machine cannot pass by skipping.
//
//   TEST(BtrfsTest, LoopFileIsMounted) {
//     FCVM_REQUIRE(root);
//     …
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

namespace tests {

enum class Label {
  root,      // effective uid 0 with CAP_SYS_ADMIN: mounts and loop devices work
  vm,        // qemu-system-x86_64, the programs of this build and the assets in data_dir()
  podman,    // podman and crun on the host; named by "vm" in REQUIRE_TESTS as well
  docker,    // a dockerd that can be started: the docker.io package and root
  user_ids,  // newuidmap, for ordinary users with several ids, and root; named by "root"
  registry,  // docker-registry and skopeo; named by "vm" in REQUIRE_TESTS as well
  tools,     // programs of the distribution that a test names
  build,     // a build as that of the preset ci: optimized, with fault points
};

// Empty when the machine has what `label` needs, else one line that says what is missing. Probes on
// every call; probing `vm` checks files only and starts no guest. For `tools` and `build` the test
// itself knows.
std::string missing_for(Label label);

// Empty when all of them are in PATH, else the first that is not.
std::string missing_program(std::initializer_list<const char*> names);

// Empty when the programs of this build have fault points (base/fault_point.h).
std::string missing_fault_points();

// True when REQUIRE_TESTS names `label`.
bool is_required(Label label);

// The decision FCVM_REQUIRE acts on, from explicit inputs.
enum class Verdict { run, skip, fail };
Verdict decide(std::string_view missing, bool required);

}  // namespace tests

#define FCVM_REQUIRE(label) FCVM_REQUIRE_THAT(label, ::tests::missing_for(::tests::Label::label))

// The same for what only one test needs: `missing_text` is empty, or says what is missing.
#define FCVM_REQUIRE_THAT(label, missing_text)                                      \
  do {                                                                              \
    const std::string fcvm_missing = (missing_text);                                \
    const auto fcvm_verdict =                                                       \
        ::tests::decide(fcvm_missing, ::tests::is_required(::tests::Label::label)); \
    if (fcvm_verdict == ::tests::Verdict::fail) {                                   \
      FAIL() << "REQUIRE_TESTS demands '" #label "' but: " << fcvm_missing;         \
    }                                                                               \
    if (fcvm_verdict == ::tests::Verdict::skip) {                                   \
      GTEST_SKIP() << "needs '" #label "': " << fcvm_missing;                       \
    }                                                                               \
  } while (false)
