// Podman as the engine: what of it is in the guest, and what it shares between VMs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

// In the guest itself, with the shell of the container's root.
Outcome in_guest(const Vm& vm, const std::string& script) {
  return vm.exec({"/run/fcvm/rootfs/bin/busybox", "sh", "-c",
                  "export PATH=/usr/bin:/run/fcvm/rootfs/bin HOME=/root; " + script},
                 {"--vm"});
}

TEST(EngineTest, SecondVmOfAnImageCopiesAndImportsNothing) {
  const Vm first({"--engine", "podman"});
  std::string digest = inspect(first.name(), "/Image");
  digest.erase(0, digest.find(':') + 1);
  const std::string disk = data_dir() / "images" / digest / "disk.ext4";
  struct stat before {};
  ASSERT_EQ(::stat(disk.c_str(), &before), 0) << disk;

  const Vm second({"--engine", "podman"});
  struct stat after {};
  ASSERT_EQ(::stat(disk.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
  EXPECT_EQ(before.st_ctim.tv_sec, after.st_ctim.tv_sec);
  EXPECT_EQ(before.st_ctim.tv_nsec, after.st_ctim.tv_nsec);

  // Podman sees the image, and none of it is in the store of the VM's own disk: there is the
  // container's writable layer, smaller than the image's single program.
  const Outcome images = in_guest(second, "podman images --quiet --no-trunc");
  EXPECT_THAT(images.out, HasSubstr(digest)) << images;
  const Outcome own = in_guest(second,
                               "cd /var/lib/containers/storage && ls overlay/l && "
                               "find . -xdev '(' -name busybox -o -name images.json -size +2c ')' "
                               "-not -path '*/merged/*' && echo looked");
  EXPECT_EQ(own.status, 0) << own;
  EXPECT_THAT(own.out, EndsWith("\nlooked\n")) << own;
  EXPECT_THAT(own.out, Not(HasSubstr("images.json"))) << own;
  EXPECT_THAT(own.out, Not(HasSubstr("busybox"))) << own;
}

TEST(EngineTest, PodmanOfTheGuestKnowsTheContainer) {
  const Vm vm({"--engine", "podman", "--label", "a=b"});
  EXPECT_EQ(inspect(vm.name(), "/Vm/Engine"), "podman");
  const Outcome ps = in_guest(vm, "podman ps --format '{{.Names}} {{.Labels.a}}'");
  EXPECT_EQ(ps.out, vm.name() + " b\n") << ps;
  // Podman's own exec, by the real conmon.
  const Outcome exec = in_guest(vm, "podman exec " + vm.name() + " sh -c 'echo inside; exit 7'");
  EXPECT_EQ(exec.out, "inside\n") << exec;
  EXPECT_EQ(exec.status, 7);
}

TEST(EngineTest, PodmanIsTheDefaultAndCrunIsInTheRecordToo) {
  const std::string name = unique_name("default");
  const RemoveAtEnd remove(name);
  const Outcome outcome =
      fcvm({"podman", "run", "--name", name, "--network", "none", busybox(), "true"});
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_EQ(inspect(name, "/Vm/Engine"), "podman");
  const Vm vm({"--engine", "crun"});
  EXPECT_EQ(inspect(vm.name(), "/Vm/Engine"), "crun");
}

}  // namespace
}  // namespace tests
