#include "vm/seccomp_profile.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace vm {
namespace {

using ::testing::ElementsAre;

constexpr std::string_view kProfile = R"({
  "defaultAction": "SCMP_ACT_ALLOW",
  "archMap": [
    {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []}],
  "syscalls": [
    {"names": ["getsid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "errno": "EPERM"},
    {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
     "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 22,
     "includes": {"caps": ["CAP_SYS_ADMIN"]}},
    {"names": ["no_such_call_of_this_kernel"], "action": "SCMP_ACT_ERRNO"},
    {"names": ["only_on_arm"], "action": "SCMP_ACT_ERRNO", "includes": {"arches": ["arm64"]}},
    {"names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": 93, "args": [
      {"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"},
      {"index": 2, "value": 9, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]})";

std::vector<int> errnos_of_resolved(const nlohmann::json& seccomp, const std::string& name) {
  std::vector<int> out;
  for (const auto& rule : seccomp.at("syscalls")) {
    if (rule.at("names").at(0) == name) out.push_back(rule.value("errnoRet", -1));
  }
  return out;
}

// The errno `call` meets in a child under the filter; 0 when it succeeds, -1 when the filter could
// not be installed.
template <typename Call>
int errno_under(const std::string& program, Call call) {
  const pid_t child = fork();
  if (child == 0) {
    // SAFETY: the program is an array of sock_filter, made by libseccomp, and outlives the call.
    sock_fprog filter{static_cast<unsigned short>(program.size() / sizeof(sock_filter)),
                      reinterpret_cast<sock_filter*>(const_cast<char*>(program.data()))};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
      _exit(255);
    }
    _exit(call() < 0 ? errno : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) != 255 ? WEXITSTATUS(status) : -1;
}

TEST(ResolveSeccompProfileTest, ConditionsFollowCapabilitiesAndArchitecture) {
  const auto plain = resolve_seccomp_profile(kProfile, "amd64", {"CAP_CHOWN"});
  EXPECT_THAT(errnos_of_resolved(plain, "getpgid"), ElementsAre(38));
  EXPECT_THAT(errnos_of_resolved(plain, "only_on_arm"), ElementsAre());
  EXPECT_EQ(plain.at("architectures").dump(), R"(["SCMP_ARCH_X86_64","SCMP_ARCH_X86"])");
  const auto admin = resolve_seccomp_profile(kProfile, "arm64", {"CAP_SYS_ADMIN"});
  EXPECT_THAT(errnos_of_resolved(admin, "getpgid"), ElementsAre(22));
  EXPECT_THAT(errnos_of_resolved(admin, "only_on_arm"), ElementsAre(-1));
}

TEST(ResolveSeccompProfileTest, WhatIsNotUnderstoodIsRefused) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"defaultAction":"SCMP_ACT_ALLOW","archMap":[]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","archMap":[],"syscalls":[{"names":["x"]}]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","archMap":[],"syscalls":[{"names":["x"],
            "action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}}]})",
        R"({"defaultAction":"SCMP_ACT_ALLOW","archMap":[],"syscalls":[{"names":["x"],
            "action":"SCMP_ACT_ERRNO","errno":"EPERM"}]})"}) {
    EXPECT_THROW(resolve_seccomp_profile(text, "amd64", {}), base::Error) << text;
  }
  EXPECT_THROW(resolve_seccomp_profile(kProfile, "vax", {}), base::Error);
}

TEST(CompileSeccompFilterTest, FilterAnswersAsTheProfileSays) {
  const std::string program =
      compile_seccomp_filter(resolve_seccomp_profile(kProfile, "amd64", {}));
  EXPECT_EQ(errno_under(program, [] { return getsid(0); }), EPERM);
  EXPECT_EQ(errno_under(program, [] { return getpgid(0); }), ENOSYS);
  EXPECT_EQ(errno_under(program, [] { return getpid(); }), 0);
  EXPECT_EQ(errno_under(program, [] { return socket(AF_NETLINK, SOCK_RAW, NETLINK_AUDIT); }),
            EPROTONOSUPPORT);
  EXPECT_EQ(errno_under(program, [] { return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE); }), 0);
}

TEST(CompileSeccompFilterTest, BadActionsAndArgumentsAreRefused) {
  auto seccomp = resolve_seccomp_profile(kProfile, "amd64", {});
  seccomp["syscalls"][0]["action"] = "SCMP_ACT_WISH";
  EXPECT_THROW(compile_seccomp_filter(seccomp), base::Error);
  seccomp["syscalls"][0]["action"] = "SCMP_ACT_KILL";
  EXPECT_THROW(compile_seccomp_filter(seccomp), base::Error) << "kill takes no errno";
  seccomp["syscalls"] = nlohmann::json::parse(
      R"([{"names":["read"],"action":"SCMP_ACT_ERRNO",
           "args":[{"index":6,"value":0,"op":"SCMP_CMP_EQ"}]}])");
  EXPECT_THROW(compile_seccomp_filter(seccomp), base::Error);
}

TEST(CachedSeccompFilterTest, SecondTimeComesFromTheFileAndDamageIsNoticed) {
  const ::tests::TempDir directory;
  const std::string cache = (directory / "cache").string();
  const auto seccomp = resolve_seccomp_profile(kProfile, "amd64", {});
  const std::string program = compile_seccomp_filter(seccomp);
  EXPECT_EQ(cached_seccomp_filter(seccomp, cache), program);
  const auto files = base::list_directory(cache);
  ASSERT_EQ(files.size(), 1U);
  const std::string path = cache + "/" + files.front();

  // A file that is whole is believed: the proof that it is read.
  base::write_file(path, base::sha256("other") + "other");
  EXPECT_EQ(cached_seccomp_filter(seccomp, cache), "other");
  for (const std::string& damage :
       {std::string(), base::sha256("other") + "othe", std::string(100000, 'x')}) {
    base::write_file(path, damage);
    EXPECT_EQ(cached_seccomp_filter(seccomp, cache), program);
    EXPECT_EQ(cached_seccomp_filter(seccomp, cache), program);
  }
  EXPECT_EQ(cached_seccomp_filter(seccomp, "/proc/no-such-folder"), program);
}

TEST(CachedSeccompFilterTest, OtherCapabilitiesHaveAnotherFile) {
  const ::tests::TempDir directory;
  const std::string cache = directory.path().string();
  cached_seccomp_filter(resolve_seccomp_profile(kProfile, "amd64", {}), cache);
  cached_seccomp_filter(resolve_seccomp_profile(kProfile, "amd64", {"CAP_SYS_ADMIN"}), cache);
  EXPECT_EQ(base::list_directory(cache).size(), 2U);
}

}  // namespace
}  // namespace vm
