// The same commands under fcvm and under the host's podman: stdout and status must be equal.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "tests/support/fcvm.h"
#include "tests/support/host_podman.h"

namespace tests {
namespace {

struct Case {
  const char* name;
  std::vector<std::string> flags;
  std::vector<std::string> command;
  std::optional<std::string> input = std::nullopt;
  bool compare_err = false;
  // Both refuse, with this in their message. fcvm's status for what never ran is 125, podman's varies.
  std::string refusal = "";
};

void PrintTo(const Case& row, std::ostream* out) {
  *out << row.name;
}

std::vector<std::string> sh(const std::string& script) {
  return {"sh", "-c", script};
}

constexpr const char* kCapabilities = "grep -E 'Cap|NoNewPrivs|Seccomp:' /proc/self/status; id";

std::vector<Case> cases() {
  const std::string env_file = (source_dir() / "tests" / "e2e" / "testdata" / "env-file").string();
  return {
      {"StreamsAndStatus", {}, sh("echo out; echo err >&2; exit 37"), {}, true},
      {"StdinWithInteractive", {"-i"}, sh("cat; echo end"), "one\ntwo"},
      {"StdinWithoutInteractive", {}, sh("cat; echo end"), "one\ntwo"},
      {"CommandNotFound", {}, {"no-such-program"}},
      {"PathNotFound", {}, {"/no/such/program"}},
      {"NotExecutable", {}, {"/etc/passwd"}},
      {"DirectoryAsCommand", {}, {"/etc"}},
      {"SignalToItselfAsFirstProcess", {}, sh("kill -TERM $$; kill -KILL $$; echo alive; exit 3")},
      {"SignalDeathOfAChild", {}, sh("sh -c 'kill -KILL $$'; echo $?; sh -c 'kill -SEGV $$'")},
      {"DefaultCommandOfTheImage", {"-i"}, {}, "echo from the image\\'s shell; exit 4\n"},
      {"Environment",
       {"--hostname", "box", "-e", "A=1", "-e", "EMPTY=", "-e", "SPACES=a b  c", "-e",
        "NO_SUCH_VAR"},
       sh("env | sort")},
      {"EnvironmentFile",
       {"--hostname", "box", "--env-file", env_file, "-e", "BOTH=flag"},
       sh("env | sort")},
      {"UserByName", {"-u", "app"}, sh("id; echo $HOME; pwd; umask; touch /x || echo refused")},
      {"UserByNumberWithGroup", {"-u", "1000:33"}, sh("id; echo $HOME")},
      {"UserUnknownByNumber", {"-u", "4242"}, sh("id; echo $HOME")},
      {"UserAndGroupByName", {"-u", "app:video"}, sh("id")},
      {"UserUnknownByName",
       {"-u", "nobody-of-that-name"},
       {"id"},
       {},
       false,
       "unable to find user nobody-of-that-name: no matching entries in passwd file"},
      {"Workdir", {"-w", "/var/../home/app"}, sh("pwd; stat -c '%a %u %g' .")},
      {"WorkdirMissing", {"-w", "/no/such/directory"}, {"pwd"}, {}, false, "does not exist"},
      {"EntrypointReplaced", {"--entrypoint", "/bin/echo"}, {"a", "b  c"}},
      {"EntrypointAsJson", {"--entrypoint", "[\"/bin/sh\", \"-c\"]"}, {"echo $0 $1", "x", "y"}},
      {"HostsAndHostname",
       {"--hostname", "box", "--name", unique_name("parity"), "--add-host", "other:10.1.2.3"},
       sh("hostname; cat /etc/hostname; grep -v host.containers.internal /etc/hosts")},
      {"ReadOnly",
       {"--read-only"},
       sh("for d in / /etc /root /tmp /run /var/tmp /dev /dev/shm; do "
          "touch $d/x 2>/dev/null && echo $d writable || echo $d not; done")},
      {"Tmpfs",
       {"--tmpfs", "/t:size=1m,mode=1770", "--tmpfs", "/plain"},
       sh("stat -c '%a %u %g' /t /plain; dd if=/dev/zero of=/t/x bs=1M count=2 2>/dev/null; "
          "stat -c %s /t/x; awk '$2 == \"/t\" || $2 == \"/plain\" {print $2, $3; print $4}' "
          "/proc/mounts | tr , '\\n' | grep -v inode64 | sort")},
      {"Ulimit",
       {"--ulimit", "nofile=100:200", "--ulimit", "core=0", "--ulimit", "fsize=1048576"},
       sh("ulimit -Sn; ulimit -Hn; ulimit -c; ulimit -f")},
      {"CapabilitiesByDefault", {}, sh(kCapabilities)},
      {"CapabilitiesAdded", {"--cap-add", "NET_ADMIN,cap_sys_time"}, sh(kCapabilities)},
      {"CapabilitiesDropped", {"--cap-drop", "ALL"}, sh(kCapabilities)},
      {"CapabilitiesAllButOne", {"--cap-drop", "all", "--cap-add", "chown"}, sh(kCapabilities)},
      {"CapabilitiesOfAUser", {"-u", "app", "--cap-add", "NET_ADMIN"}, sh(kCapabilities)},
      {"Devices",
       {},
       sh("ls -l /dev | awk 'NR > 1 {print $1, $3, $4, $NF}' | grep -v kcore | sort")},
      {"MountPoints",
       {},
       sh("awk '$2 !~ /cgroup/ {print $2}' /proc/mounts | sort | "
          "grep -vE '^/(etc|run/.containerenv|proc/|sys/)'")},
      {"MaskedAndReadOnlyPaths",
       {},
       sh("ls /sys/firmware; cat /proc/keys /proc/timer_list; "
          "echo 1 2>/dev/null > /proc/sys/kernel/sysrq || echo refused; "
          "echo 1 2>/dev/null > /sys/kernel/uevent_seqnum || echo refused; "
          "touch /proc/bus/x 2>/dev/null || echo refused")},
      {"SystemCallsThatAreFiltered",
       {},
       sh("unshare -m true; echo $?; mount -t tmpfs none /tmp; echo $?; "
          "swapoff -a; dmesg > /dev/null; echo $?; chroot / true; echo $?")},
      {"SharedMemory", {}, sh("df -k /dev/shm | awk 'NR == 2 {print $2}'; stat -c %a /dev/shm")},
      {"FirstProcess", {}, sh("echo $$; tr '\\0' ' ' < /proc/1/cmdline; echo $PPID")},
      {"ManyArguments", {}, {"printf", "[%s]", "", "a b", "*", "$HOME", "'", "--", "-x", "\n"}},
      {"OwnersAndModesOfTheImage",
       {},
       sh("stat -c '%n %a %u %g %F' / /tmp /root /home/app /bin/busybox /bin/sh /etc/passwd")},
      {"RootIsWritable",
       {},
       sh("rm /etc/os-release && mv /home /moved && ln /bin/busybox /hard && "
          "mkdir -p /a/b && chown 5:6 /a/b && stat -c '%u %g' /a/b && ls /")},
  };
}

class PodmanParityTest : public testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    if (missing_for(Label::podman).empty()) {
      podman_ = std::make_unique<HostPodman>(busybox());
    }
  }
  static void TearDownTestSuite() { podman_.reset(); }

  static std::unique_ptr<HostPodman> podman_;
};
std::unique_ptr<HostPodman> PodmanParityTest::podman_;

TEST_P(PodmanParityTest, StdoutAndStatusAreEqual) {
  FCVM_REQUIRE(podman);
  ASSERT_NE(podman_, nullptr);
  const Case& row = GetParam();
  Command command = fcvm_command(run_args({"--rm"}, {}));
  command.argv.pop_back();
  command.argv.insert(command.argv.end(), row.flags.begin(), row.flags.end());
  command.argv.push_back(busybox());
  command.argv.insert(command.argv.end(), row.command.begin(), row.command.end());
  command.input = row.input;
  const Outcome ours = run(std::move(command));
  const Outcome theirs = podman_->run(row.flags, row.command, row.input);
  if (!row.refusal.empty()) {
    EXPECT_THAT(ours.err, testing::HasSubstr(row.refusal));
    EXPECT_THAT(theirs.err, testing::HasSubstr(row.refusal));
    EXPECT_NE(ours.status, 0);
    EXPECT_NE(theirs.status, 0);
    return;
  }
  EXPECT_EQ(ours.out, theirs.out) << "fcvm: " << ours << "\npodman: " << theirs;
  EXPECT_EQ(ours.status, theirs.status) << "fcvm: " << ours << "\npodman: " << theirs;
  if (row.compare_err) {
    EXPECT_EQ(ours.err, theirs.err);
  }
}

std::string name_of(const testing::TestParamInfo<Case>& row) {
  return row.param.name;
}

INSTANTIATE_TEST_SUITE_P(Flags, PodmanParityTest, testing::ValuesIn(cases()), name_of);

}  // namespace
}  // namespace tests
