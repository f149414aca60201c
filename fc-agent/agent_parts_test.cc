// The agent's small parsers and look-ups.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "fc-agent/cgroup.h"
#include "fc-agent/crun.h"
#include "fc-agent/disks.h"
#include "fc-agent/link_port.h"
#include "fc-agent/modules.h"
#include "fc-agent/mounts.h"
#include "fc-agent/oci_process.h"
#include "fc-agent/snapshot.h"
#include "tests/support/temp_dir.h"

namespace fc_agent {
namespace {

TEST(QuiesceTest, ContainerThatHasEndedIsNotLeftFrozen) {
  const tests::TempDir group;
  base::write_file(group / "cgroup.events", "populated 1\nfrozen 1\n");
  quiesce(group.path(), ::getpid());
  EXPECT_EQ(base::read_file(group / "cgroup.freeze"), "1");
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ASSERT_GT(child, 0);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT), 0);
  EXPECT_THROW(quiesce(group.path(), child), base::Error) << "ended, and its news not read yet";
  EXPECT_EQ(base::read_file(group / "cgroup.freeze"), "0");
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_THROW(quiesce(group.path(), child), base::Error);
  EXPECT_THROW(quiesce(group.path(), 0), base::Error);
}

TEST(HostsTest, CloneKeepsWhatItsContainerWrote) {
  const std::string planned = "127.0.0.1\tlocalhost\n10.0.2.100\tc1 clone\n";
  EXPECT_EQ(merge_hosts("10.0.0.5\tdb\n10.0.2.100\tdb web\n10.0.0.6\tmine\n", planned, "db"),
            "10.0.0.5\tdb\n10.0.2.100\tc1 clone\n10.0.0.6\tmine\n");
  // Its own line is not there any more, or is another's.
  for (const char* now : {"", "\n", "10.0.2.100\tother db\n", "10.0.0.5\tdb", "\n\nx\n\n"}) {
    EXPECT_EQ(merge_hosts(now, planned, "db"), now);
  }
  EXPECT_EQ(merge_hosts("10.0.2.100\tdb", planned, "db"), "10.0.2.100\tc1 clone");
  EXPECT_EQ(merge_hosts("10.0.2.100\tdb\n", "", "db"), "10.0.2.100\tdb\n");
}

TEST(ModuleOrderTest, PathsAreTakenInOrder) {
  EXPECT_EQ(parse_module_order("/modules/a.ko\n\n/modules/b-c.ko\n"),
            (std::vector<std::string>{"/modules/a.ko", "/modules/b-c.ko"}));
  EXPECT_TRUE(parse_module_order("").empty());
}

TEST(ModuleOrderTest, AnythingButAModulesPathIsRefused) {
  EXPECT_THROW(parse_module_order("modules/a.ko\n"), base::Error);
  EXPECT_THROW(parse_module_order("/modules/a.txt\n"), base::Error);
  std::string many;
  for (int i = 0; i < 300; ++i) many += "/modules/a.ko\n";
  EXPECT_THROW(parse_module_order(many), base::Error);
}

TEST(ModuleTest, NameIsTheKernels) {
  EXPECT_EQ(module_name("/modules/virtio-rng.ko"), "virtio_rng");
  EXPECT_EQ(module_name("virtio_rng"), "virtio_rng");
  EXPECT_EQ(module_name(""), "");
}

TEST(ModuleTest, UnknownModulesAreLoadedFirst) {
  EXPECT_EQ(stage_of("virtio_console"), ModuleStage::kLink);
  EXPECT_EQ(stage_of("virtio_blk"), ModuleStage::kRoot);
  EXPECT_EQ(stage_of("overlay"), ModuleStage::kContainer);
  EXPECT_EQ(stage_of("virtio_rng"), ModuleStage::kLate);
  EXPECT_EQ(stage_of("some_bus"), ModuleStage::kBase);
}

TEST(ModuleTest, MissingFolderMeansNothingToLoadAndStrayPathsAreRefused) {
  const tests::TempDir directory;
  EXPECT_NO_THROW(Modules(directory / "none").load_stage(ModuleStage::kBase));
  directory.write("order", "/elsewhere/a.ko\n");
  EXPECT_THROW(Modules modules(directory.path()), base::Error);
  directory.write("order", (directory / "a.ko").string() + "\n");
  EXPECT_THROW(Modules(directory.path()).load("b"), base::Error);
}

TEST(OverlayTest, LayersAreJoinedTopFirstAndSpecialCharactersEscaped) {
  wire::PlanOverlay overlay;
  overlay.lower = {"/img/b", "/img/a:x"};
  overlay.upper = "/up,per";
  overlay.work = "/wo\\rk";
  EXPECT_EQ(overlay_options(overlay),
            "lowerdir=/img/b:/img/a\\:x,upperdir=/up\\,per,workdir=/wo\\\\rk");
}

TEST(LinkPortTest, PortIsFoundByNameOnceItHasOne) {
  const tests::TempDir sys;
  EXPECT_EQ(find_port(sys / "absent", kLinkPortName), "");
  sys.write("vport0p0/dev", "1:1");
  sys.write("vport0p1/name", "other\n");
  EXPECT_EQ(find_port(sys.path(), kLinkPortName), "");
  sys.write("vport0p2/name", "fcvm.link\n");
  EXPECT_EQ(find_port(sys.path(), kLinkPortName), "vport0p2");
}

TEST(DiskTest, DiskIsFoundBySerial) {
  const tests::TempDir sys;
  sys.write("loop0/serial", "root\n");
  sys.write("vda/serial", "image\n");
  sys.write("vdb/serial", "root");
  EXPECT_EQ(find_disk(sys.path(), "root"), "vdb");
  EXPECT_EQ(find_disk(sys.path(), "image"), "vda");
  EXPECT_EQ(find_disk(sys.path(), "other"), "");
}

TEST(DiskTest, DiskThatNeverComesIsATimeOut) {
  const tests::TempDir sys;
  Uevents uevents;
  try {
    wait_for_disk(uevents, sys.path(), "root", std::chrono::milliseconds(20));
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_EQ(error.errnum(), ETIMEDOUT);
  }
}

TEST(CrunFailureTest, CodesArePodmans) {
  const auto code = [](const std::string& message) {
    return classify_crun_failure(R"({"msg":")" + message + R"(","level":"error"})", "").code;
  };
  EXPECT_EQ(code("executable file `x` not found in $PATH: No such file or directory"), 127);
  EXPECT_EQ(code("chdir to `/x`: No such file or directory"), 127);
  EXPECT_EQ(code("open executable: Permission denied"), 126);
  EXPECT_EQ(code("open executable: Operation not permitted"), 126);
  EXPECT_EQ(code("cannot set limits"), 125);
}

TEST(CrunFailureTest, MessageComesFromErrorLinesOnly) {
  const CrunFailure failure = classify_crun_failure(
      "{\"msg\":\"mind this\",\"level\":\"warning\"}\n{\"msg\":\"first\",\"level\":\"error\"}\n"
      "plain words\n{\"no\":1}\n[1]\n{\"msg\":3}\n",
      "unused");
  EXPECT_EQ(failure.message, "crun: first; plain words");
  EXPECT_EQ(classify_crun_failure("", "exit status 1").message, "crun: exit status 1");
  EXPECT_LE(classify_crun_failure(std::string(100'000, 'x'), "").message.size(), 5000U);
}

TEST(CrunArgumentsTest, ConsoleSocketOnlyWithATerminal) {
  CrunFiles files{"/r/0.pid", "/r/0.log", "/r/0.json", ""};
  auto arguments = crun_exec_arguments({}, files, "c1");
  EXPECT_EQ(std::count(arguments.begin(), arguments.end(), "--console-socket"), 0);
  EXPECT_EQ(arguments.back(), "c1");
  files.console_socket = "/r/0.console";
  arguments = crun_run_arguments({}, files, "/b", "c1");
  EXPECT_EQ(std::count(arguments.begin(), arguments.end(), "--console-socket"), 1);
  EXPECT_EQ(std::count(arguments.begin(), arguments.end(), "--detach"), 1);
}

TEST(OciProcessTest, FieldsAreTakenAndDefaultsFilled) {
  const OciProcess process =
      parse_oci_process(R"({"args":["a","b"],"env":["X=1"],"cwd":"/w","terminal":true,)"
                        R"("user":{"uid":5,"gid":6,"additionalGids":[7,8]}})");
  EXPECT_EQ(process.args, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(process.cwd, "/w");
  EXPECT_TRUE(process.terminal);
  EXPECT_EQ(process.uid, 5U);
  EXPECT_EQ(process.additional_gids, (std::vector<gid_t>{7, 8}));
  EXPECT_EQ(parse_oci_process(R"({"args":["a"]})").cwd, "/");
}

TEST(OciProcessTest, NonsenseIsAnError) {
  for (const char* text : {"", "[]", "{}", R"({"args":[]})", R"({"args":[""]})", R"({"args":7})",
                           R"({"args":["a"],"user":{"uid":"x"}})", R"({"args":["a"],"env":3})"}) {
    EXPECT_THROW(parse_oci_process(text), base::Error) << text;
  }
}

TEST(OciProcessTest, TerminalAndSizeAreWrittenIntoProcessOrConfig) {
  EXPECT_EQ(with_terminal(R"({"terminal":false})", false, true, 3, 4),
            R"({"consoleSize":{"height":3,"width":4},"terminal":true})");
  EXPECT_EQ(with_terminal(R"({"process":{}})", true, true, 0, 0),
            R"({"process":{"terminal":true}})");
  EXPECT_EQ(with_terminal(R"({"terminal":true})", false, false, 3, 4), R"({"terminal":false})");
  EXPECT_THROW(with_terminal(R"({})", true, true, 0, 0), base::Error);
  EXPECT_THROW(with_terminal(R"([])", false, true, 0, 0), base::Error);
}

TEST(FindExecutableTest, PathOfTheProcessDecides) {
  const tests::TempDir directory;
  const std::string plain = directory.write("a/tool", "");
  const std::string tool = directory.write("b/tool", "");
  ::chmod(plain.c_str(), 0644);
  ::chmod(tool.c_str(), 0755);
  const std::string a = directory / "a";
  const std::string b = directory / "b";
  EXPECT_EQ(find_executable("tool", {"PATH=" + a + ":" + b}), tool);
  EXPECT_EQ(find_executable("tool", {"PATH=" + a}), plain);
  EXPECT_EQ(find_executable("tool", {"PATH=/nonexistent"}), "tool");
  EXPECT_EQ(find_executable("/x/tool", {"PATH=" + b}), "/x/tool");
  EXPECT_EQ(find_executable("a", {"PATH=" + directory.path().string()}), "a");
}

TEST(CgroupTest, PathIsThatOfTheUnifiedHierarchy) {
  EXPECT_EQ(parse_cgroup_path("0::/c1\n"), "/c1");
  EXPECT_EQ(parse_cgroup_path("4:cpu:/x\n0::/a/b\n"), "/a/b");
  EXPECT_EQ(parse_cgroup_path("4:cpu:/x\n"), "");
  EXPECT_EQ(parse_cgroup_path(""), "");
}

TEST(CgroupTest, ValuesAreFoundByTheirWholeKey) {
  const std::string text = "oom 1\noom_kill 7\nMemTotal:       481188 kB\n";
  EXPECT_EQ(value_of_key(text, "oom_kill"), 7U);
  EXPECT_EQ(value_of_key(text, "oom"), 1U);
  EXPECT_EQ(value_of_key(text, "MemTotal"), 481188U);
  EXPECT_EQ(value_of_key(text, "Mem"), 0U);
  EXPECT_EQ(value_of_key(text, "absent"), 0U);
}

TEST(CgroupTest, GroupThatIsGoneHasNothing) {
  EXPECT_EQ(cgroup_memory_bytes("/nonexistent"), 0U);
  EXPECT_EQ(cgroup_oom_kills(""), 0U);
  EXPECT_NO_THROW(signal_cgroup("/nonexistent", SIGKILL));
}

}  // namespace
}  // namespace fc_agent
