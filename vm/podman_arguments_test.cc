#include "vm/podman_arguments.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "vm/guest_paths.h"

namespace vm {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::StartsWith;

constexpr std::string_view kProfile =
    R"({"defaultAction":"SCMP_ACT_ALLOW",
        "archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":[]}],
        "syscalls":[{"names":["chroot"],"action":"SCMP_ACT_ERRNO","errnoRet":1}]})";

class PodmanArgumentsTest : public ::testing::Test {
 protected:
  PodmanArgumentsTest() {
    image_.digest = "sha256:0123abcd";
    image_.config.cmd = {"sh"};
    image_.passwd = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n";
    facts_.vm_id = "0123456789abcdef0123";
    facts_.vm_name = "web";
    facts_.init_program = kGuestInitProgram;
    facts_.seccomp_profile = kProfile;
  }

  std::vector<std::string> arguments() const {
    return podman_arguments(image_, options_, facts_, make_bundle(image_, options_, facts_));
  }

  image::ImageMeta image_;
  RunOptions options_;
  GuestFacts facts_;
};

TEST_F(PodmanArgumentsTest, ContainerIsMadeOfTheImageByItsId) {
  options_.command = {"echo", "--rm", ""};
  const auto all = arguments();
  EXPECT_EQ(all.front(), "run");
  EXPECT_THAT(std::vector<std::string>(all.end() - 4, all.end()),
              ElementsAre("0123abcd", "echo", "--rm", ""));
  EXPECT_THAT(all, IsSupersetOf({"--detach", "--pull=never", "--network=host", "--name=web",
                                 "--hostname=0123456789ab", "--stop-signal=15"}));
  for (const char* absent : {"--tty", "--interactive", "--privileged", "--read-only", "--init"}) {
    EXPECT_THAT(all, Not(Contains(absent)));
  }
}

TEST_F(PodmanArgumentsTest, FlagsHavePodmansNames) {
  options_.tty = options_.interactive = options_.read_only = options_.init = true;
  options_.env = {{"A", "1"}, {"EMPTY", ""}};
  options_.user = "app";
  options_.workdir = "/var";
  options_.entrypoint = std::vector<std::string>{"/bin/sh", "-c"};
  options_.cap_add = {"NET_ADMIN"};
  options_.cap_drop = {"ALL"};
  options_.ulimits = {{"nofile", 100, Ulimit::kUnlimited}};
  options_.tmpfs = {{"/t", {"size=1m", "rw"}}};
  options_.labels = {{"a", "b"}};
  options_.stop_signal = 2;
  options_.stop_timeout = std::chrono::seconds(3);
  options_.hostname = "box";
  options_.disks = {{"/host/file", "/data", true}};
  EXPECT_THAT(arguments(),
              IsSupersetOf({"--tty", "--interactive", "--read-only", "--init", "--env=A=1",
                            "--env=EMPTY=", "--user=app", "--workdir=/var",
                            "--entrypoint=[\"/bin/sh\",\"-c\"]", "--cap-add=NET_ADMIN",
                            "--cap-drop=ALL", "--ulimit=nofile=100:-1", "--tmpfs=/t:size=1m,rw",
                            "--label=a=b", "--stop-signal=2", "--stop-timeout=3", "--hostname=box",
                            "--volume=/run/fcvm/disks/0:/data:ro",
                            "--volume=/run/fcvm/files/hosts:/etc/hosts:ro"}));
}

TEST_F(PodmanArgumentsTest, ClearedEntrypointStaysCleared) {
  options_.entrypoint = std::vector<std::string>{};
  options_.command = {"true"};
  EXPECT_THAT(arguments(), Contains("--entrypoint="));
}

TEST_F(PodmanArgumentsTest, FilterIsTheHostsUnlessPrivileged) {
  EXPECT_THAT(arguments(), Contains(StartsWith("--annotation=run.oci.seccomp_bpf_data=")));
  options_.privileged = true;
  const auto all = arguments();
  EXPECT_THAT(all, Contains("--privileged"));
  EXPECT_THAT(all, Not(Contains(HasSubstr("seccomp"))));
}

}  // namespace
}  // namespace vm
