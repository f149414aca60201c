// What a test needs from the machine. A test that cannot run here is skipped with the reason,
// unless the environment variable REQUIRE_TESTS (a comma list of labels: "root,vm,docker") names
// its label: then it fails with the same reason, so that a CI machine cannot pass by skipping.
//
//   TEST(BtrfsTest, LoopFileIsMounted) {
//     FCVM_REQUIRE(root);
//     …
#pragma once

#include <gtest/gtest.h>

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
};

// Empty when the machine has what `label` needs, else one line that says what is missing. Probes on
// every call; probing `vm` checks files only and starts no guest.
std::string missing_for(Label label);

// True when REQUIRE_TESTS names `label`.
bool is_required(Label label);

// The decision FCVM_REQUIRE acts on, from explicit inputs.
enum class Verdict { run, skip, fail };
Verdict decide(std::string_view missing, bool required);

}  // namespace tests

#define FCVM_REQUIRE(label)                                                         \
  do {                                                                              \
    const std::string fcvm_missing = ::tests::missing_for(::tests::Label::label);   \
    const auto fcvm_verdict =                                                       \
        ::tests::decide(fcvm_missing, ::tests::is_required(::tests::Label::label)); \
    if (fcvm_verdict == ::tests::Verdict::fail) {                                   \
      FAIL() << "REQUIRE_TESTS demands '" #label "' but: " << fcvm_missing;         \
    }                                                                               \
    if (fcvm_verdict == ::tests::Verdict::skip) {                                   \
      GTEST_SKIP() << "needs '" #label "': " << fcvm_missing;                       \
    }                                                                               \
  } while (false)
