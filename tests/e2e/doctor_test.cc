// `fcvm doctor` on machines that lack something: each is this machine, seen from a mount namespace
// where the thing is really gone.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "tests/support/fcvm.h"
#include "tests/support/temp_dir.h"

namespace tests {
namespace {

using testing::HasSubstr;

struct Diagnosis {
  Outcome outcome;
  nlohmann::json document;

  nlohmann::json check(const std::string& name) const {
    if (!document.is_object()) return nlohmann::json::object();
    for (const auto& check : document.value("checks", nlohmann::json::array())) {
      if (check.value("name", "") == name) return check;
    }
    return nlohmann::json::object();
  }
};

// Shell functions the preludes use.
constexpr char kFunctions[] = R"(
fail() { echo "prelude: $*" >&2; exit 99; }

# A /dev with the plain nodes only.
bare_dev() {
  mount -t tmpfs none /dev
  mknod -m 666 /dev/null c 1 3
  mknod -m 666 /dev/zero c 1 5
  mknod -m 666 /dev/urandom c 1 9
  ln -s /proc/self/fd /dev/fd
}

# A PATH that has every program but those named.
path_without() {
  mkdir "$T/path"
  (IFS=:; for d in $PATH; do ln -s "$d"/* "$T/path" 2> /dev/null || true; done)
  for name in "$@"; do rm -f "$T/path/$name"; done
  PATH=$T/path
}

# A program of this name that says its version.
add_program() {
  mkdir -p "$T/more"
  printf '#!/bin/sh\necho "%s 1.0"\n' "$1" > "$T/more/$1"
  chmod +x "$T/more/$1"
  PATH=$T/more:$PATH
}

# The data directory on a file system in memory: its files may be spoilt, none is lost.
data_in_memory() {
  mkdir "$T/memory"
  mount -t tmpfs none "$T/memory"
  mkdir "$T/memory/upper" "$T/memory/work"
  mount -t overlay -o "lowerdir=$DATA,upperdir=$T/memory/upper,workdir=$T/memory/work" none "$DATA"
}

cpu_flags() {
  printf 'processor : 0\nmodel name : Test CPU\nflags : fpu %s\n' "$1" > "$T/cpuinfo"
  mount --bind "$T/cpuinfo" /proc/cpuinfo
}

as_nobody() {
  HOME=$T
  RUN="setpriv --reuid 65534 --regid 65534 --clear-groups"
}
)";

// `fcvm doctor --json` after `prelude`, with FCVM, DATA, T (an empty directory) and RUN to be
// changed by it.
Diagnosis diagnose(const std::string& prelude, const std::string& options = "--json") {
  const TempDir dir;
  std::filesystem::permissions(dir.path(), static_cast<std::filesystem::perms>(0755));
  Command command;
  command.argv = {
      "unshare", "--mount", "sh", "-euc",
      kFunctions + prelude + "\nexec $RUN \"$FCVM\" --data-dir \"$DATA\" doctor " + options};
  command.env = {"FCVM=" + (bin_dir() / "fcvm").string(), "DATA=" + data_dir().string(),
                 "T=" + dir.path().string(), "RUN="};
  Diagnosis diagnosis{run(std::move(command)), {}};
  diagnosis.document = nlohmann::json::parse(diagnosis.outcome.out, nullptr, false);
  return diagnosis;
}

TEST(DoctorTest, EveryLineIsThereAndThisMachineCanRun) {
  const LeakCheck before;
  const Diagnosis seen = diagnose("");
  ASSERT_EQ(seen.outcome.status, 0) << seen.outcome;
  EXPECT_EQ(seen.outcome.err, "");
  EXPECT_TRUE(seen.document.at("can_run").get<bool>());
  std::set<std::string> names;
  for (const auto& check : seen.document.at("checks")) {
    names.insert(check.at("name").get<std::string>());
    EXPECT_NE(check.at("found").get<std::string>(), "") << check;
    EXPECT_FALSE(check.at("prevents_run").get<bool>()) << check;
    const std::string status = check.at("status").get<std::string>();
    EXPECT_EQ(check.at("cost").get<std::string>().empty(), status == "ok") << check;
  }
  EXPECT_EQ(names, (std::set<std::string>{"cpu", "kvm", "tcg", "firecracker", "programs", "skopeo",
                                          "mke2fs", "podman", "user ids", "reflink", "kernel",
                                          "base", "userfaultfd", "tun", "nftables", "slirp4netns",
                                          "pasta", "fuse", "docker runtime"}));
  for (const char* name : {"tcg", "programs", "skopeo", "mke2fs", "reflink", "kernel", "base"}) {
    EXPECT_EQ(seen.check(name).value("status", ""), "ok") << seen.check(name);
  }
  EXPECT_EQ(before.diff(), "");
}

TEST(DoctorTest, TableHasOneLineForEachCheck) {
  const Diagnosis seen = diagnose("path_without skopeo", "");
  EXPECT_EQ(seen.outcome.status, 1) << seen.outcome;
  EXPECT_EQ(std::count(seen.outcome.out.begin(), seen.outcome.out.end(), '\n'), 20);
  EXPECT_THAT(seen.outcome.out,
              HasSubstr("\nskopeo          missing   skopeo is not installed; costs: no image can "
                        "be made ready; those that are still run; fix: apt-get install skopeo\n"));
}

TEST(DoctorTest, UnknownOptionIsAMistake) {
  EXPECT_EQ(fcvm({"doctor", "--no-such-flag"}).status, 125);
  EXPECT_EQ(fcvm({"doctor", "argument"}).status, 125);
}

struct Case {
  const char* name;
  const char* prelude;
  const char* check;
  const char* status;
  const char* found;
  const char* fix;
  bool prevents_run;
};

void PrintTo(const Case& row, std::ostream* out) {
  *out << row.name;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> rows{
      {"CpuOfAnotherKind", "RUN='setarch i686'", "cpu", "missing", "x86_64 only", "", true},
      {"CpuWithoutVirtualization", "cpu_flags sse", "cpu", "degraded", "neither vmx nor svm",
       "firmware", false},
      {"CpuWithVirtualization", "cpu_flags svm", "cpu", "ok", "Test CPU, svm", "", false},

      {"KvmNotLoaded", "cpu_flags svm; bare_dev", "kvm", "missing", "/dev/kvm does not exist",
       "modprobe kvm_amd", false},
      {"KvmNotLoadedOnIntel", "cpu_flags vmx; bare_dev", "kvm", "missing", "does not exist",
       "modprobe kvm_intel", false},
      {"KvmForbidden", "cpu_flags svm; bare_dev; mknod -m 600 /dev/kvm c 10 232; as_nobody", "kvm",
       "missing", "Permission denied", "usermod -aG kvm", false},
      {"KvmIsNoDevice", "cpu_flags svm; bare_dev; : > /dev/kvm", "kvm", "missing", "API version",
       "", false},
      {"KvmWithoutVirtualization", "cpu_flags sse", "kvm", "missing", "", "firmware", false},

      {"TcgWithoutQemu", "cpu_flags sse; path_without qemu-system-x86_64", "tcg", "missing",
       "qemu-system-x86_64 is not installed", "apt-get install qemu-system-x86", true},
      {"TcgModuleBroken",
       "cpu_flags sse; for m in /usr/lib/*/qemu/accel-tcg-x86_64.so; do mount --bind /dev/null $m; "
       "done",
       "tcg", "missing", "tcg", "apt-get install qemu-system-x86", true},
      {"KvmWithoutQemu", "cpu_flags sse; path_without qemu-system-x86_64", "kvm", "missing", "",
       "apt-get install qemu-system-x86", false},

      {"FirecrackerAbsent", "path_without firecracker", "firecracker", "missing",
       "not in this version yet", "", false},
      {"FirecrackerInstalled", "add_program firecracker", "firecracker", "degraded",
       "more/firecracker, not in this version yet", "", false},
      {"FirecrackerNamedWrongly", "export FCVM_FIRECRACKER_BIN=/no/such/fc", "firecracker",
       "missing", "/no/such/fc", "", false},

      {"ProgramsElsewhere", "mkdir $T/bin; cp $FCVM $T/bin; FCVM=$T/bin/fcvm", "programs",
       "missing", "fcvm-monitor", "FCVM_LIBEXEC_DIR", true},
      {"ProgramsByEnvironment",
       "mkdir $T/bin; cp $FCVM $T/bin; export FCVM_LIBEXEC_DIR=${FCVM%/*}; FCVM=$T/bin/fcvm",
       "programs", "ok", "fcvm-monitor", "", false},

      {"SkopeoAbsent", "path_without skopeo", "skopeo", "missing", "skopeo is not installed",
       "apt-get install skopeo", true},
      {"SkopeoBroken", "path_without skopeo; ln -s $(command -v false) $T/path/skopeo", "skopeo",
       "missing", "does not work", "apt-get install skopeo", true},
      {"MkfsAbsent", "path_without mke2fs", "mke2fs", "missing", "mke2fs is not installed",
       "apt-get install e2fsprogs", true},
      {"PodmanAbsent", "path_without podman", "podman", "missing", "podman is not installed",
       "apt-get install podman", false},
      {"UserIdsWithoutARange", "mount --bind /dev/null /etc/subuid; as_nobody", "user ids",
       "degraded", "/etc/subuid", "apt-get install uidmap", false},
      {"UserIdsWithoutNamespaces", "path_without unshare newuidmap; as_nobody", "user ids",
       "missing", "no user namespace", "apt-get install util-linux", true},

      {"ReflinkInMemory", "data_in_memory", "reflink", "degraded", "has no reflinks", "btrfs",
       false},
      {"ReflinkReadOnly", "data_in_memory; mount -o remount,ro,bind $DATA", "reflink", "missing",
       "Read-only", "writable", true},
      {"ReflinkWithoutDirectory", "DATA=$T/none", "reflink", "missing", "does not exist",
       "fcvm setup", true},

      {"KernelOfNoDirectory", "DATA=$T/none", "kernel", "missing", "does not exist", "fcvm setup",
       true},
      {"KernelAbsent", "data_in_memory; rm $DATA/kernels/vmlinux.bin", "kernel", "missing",
       "kernels/vmlinux.bin", "fcvm setup", true},
      {"KernelAltered", "data_in_memory; echo >> $(realpath $DATA/kernels/vmlinux.bin)", "kernel",
       "missing", "was altered", "fcvm setup", true},
      {"KernelModuleGone", "data_in_memory; rm $DATA/kernels/latest/modules/virtio_blk.ko",
       "kernel", "missing", "virtio_blk.ko is gone", "fcvm setup", true},
      {"BaseOfNoDirectory", "DATA=$T/none", "base", "missing", "does not exist", "fcvm setup",
       true},
      {"BaseAbsent", "data_in_memory; rm $DATA/rootfs/base*.ext4", "base", "missing", "base",
       "fcvm setup", true},
      {"BaseEmptied", "data_in_memory; : > $(realpath $DATA/rootfs/base.ext4)", "base", "missing",
       "no ext4", "fcvm setup", true},
      {"SeccompProfileAbsent", "data_in_memory; rm $DATA/rootfs/seccomp.json", "base", "missing",
       "seccomp", "fcvm setup", true},

      {"UserfaultfdRefused",
       "bare_dev; [ \"$(sysctl -n vm.unprivileged_userfaultfd)\" = 0 ] || fail sysctl; as_nobody",
       "userfaultfd", "missing", "Operation not permitted", "sysctl vm.unprivileged_userfaultfd=1",
       false},
      {"UserfaultfdThere", "", "userfaultfd", "degraded", "not in this version yet", "", false},
      {"TunAbsent", "bare_dev", "tun", "missing", "/dev/net/tun: No such file", "modprobe tun",
       false},
      {"TunForbidden", "bare_dev; mkdir /dev/net; mknod -m 600 /dev/net/tun c 10 200; as_nobody",
       "tun", "missing", "Permission denied", "access", false},
      {"TunThere", "bare_dev; mkdir /dev/net; mknod /dev/net/tun c 10 200", "tun", "degraded",
       "not in this version yet", "", false},
      {"NftablesAbsent", "path_without nft", "nftables", "missing", "nft is not installed",
       "apt-get install nftables", false},
      {"NftablesThere", "add_program nft", "nftables", "degraded",
       "(nft 1.0), not in this version yet", "", false},
      {"SlirpAbsent", "path_without slirp4netns", "slirp4netns", "missing", "is not installed",
       "apt-get install slirp4netns", false},
      {"SlirpThere", "add_program slirp4netns", "slirp4netns", "degraded",
       "not in this version yet", "", false},
      {"PastaAbsent", "path_without pasta", "pasta", "missing", "is not installed",
       "apt-get install passt", false},
      {"PastaThere", "add_program pasta", "pasta", "degraded", "not in this version yet", "",
       false},
      {"FuseAbsent", "bare_dev", "fuse", "missing", "/dev/fuse: No such file", "modprobe fuse",
       false},
      {"FuseThere", "bare_dev; mknod /dev/fuse c 10 229", "fuse", "degraded",
       "not in this version yet", "", false},
      {"DockerAbsent", "path_without dockerd", "docker runtime", "missing",
       "dockerd is not installed", "", false},
      {"DockerThere", "add_program dockerd", "docker runtime", "degraded",
       "no runcvm, not in this version yet", "", false},
  };
  return rows;
}

class DoctorLineTest : public testing::TestWithParam<Case> {};

TEST_P(DoctorLineTest, SaysWhatIsThereAndWhatToDo) {
  const Case& row = GetParam();
  const LeakCheck before;
  const Diagnosis seen = diagnose(row.prelude);
  const nlohmann::json check = seen.check(row.check);
  ASSERT_FALSE(check.empty()) << seen.outcome;
  EXPECT_EQ(check.value("status", ""), row.status) << check;
  EXPECT_THAT(check.value("found", ""), HasSubstr(row.found));
  EXPECT_THAT(check.value("fix", ""), HasSubstr(row.fix));
  EXPECT_EQ(check.value("prevents_run", !row.prevents_run), row.prevents_run) << check;
  if (row.prevents_run) {
    EXPECT_EQ(seen.outcome.status, 1) << seen.outcome;
    EXPECT_FALSE(seen.document.value("can_run", true));
  }
  EXPECT_EQ(before.diff(), "");
}

std::string name_of(const testing::TestParamInfo<Case>& row) {
  return row.param.name;
}

INSTANTIATE_TEST_SUITE_P(Table, DoctorLineTest, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace tests
