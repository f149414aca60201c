// A container made by podman, with stand-ins for podman and crun: what the agent does between them.
#include "fc-agent/podman.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "fc-agent/conmon.h"
#include "fc-agent/container_test_support.h"
#include "fc-agent/fake_podman.h"

namespace fc_agent {
namespace {

using std::chrono::milliseconds;
using wire::ProcessEvent;
using wire::ProcessStart;

class PodmanContainerTest : public ContainerTest {
 protected:
  PodmanContainerTest() : ContainerTest(fake_podman) {}

  std::unique_ptr<ProcessTestClient> start(const std::string& behaviour,
                                           const std::vector<std::string>& args, bool tty = false) {
    return start_plan({"c1", "", {"run", behaviour, directory_ / "bundle"}},
                      {{"root", {{"path", "/the/root"}}}}, args, tty);
  }
  std::unique_ptr<ProcessTestClient> start_shell(const std::string& behaviour,
                                                 const std::string& script) {
    return start(behaviour, {"/bin/sh", "-c", script});
  }

  static Podman fake_podman(const tests::TempDir& directory) {
    Podman podman;
    podman.program = fake_crun_program();
    podman.conmon = link_fake_conmon(directory.path());
    podman.conmon_socket = podman.conmon + ".sock";
    podman.container_id_file = directory / "disk/container-id";
    podman.root_link = directory / "links/rootfs";
    return podman;
  }
};

TEST_F(PodmanContainerTest, StatusAndOutputAreTheContainersOwn) {
  const auto client = start_shell("run", "echo out; echo err >&2; exit 37");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 37);
  EXPECT_TRUE(client->started());
  EXPECT_EQ(client->out(), "out\n");
  EXPECT_EQ(client->err(), "err\n");
  EXPECT_EQ(base::read_file(directory_ / "disk/container-id"), kFakeContainerId);
  EXPECT_EQ(std::filesystem::read_symlink(directory_ / "links/rootfs"), "/the/root");
  EXPECT_EQ(std::filesystem::status(directory_ / "links").permissions(),
            std::filesystem::perms::owner_all);
}

TEST(PodmanHostNameTest, ContainerOfACloneIsStartedWithTheNameOfTheClone) {
  const tests::TempDir bundle;
  const auto file = bundle / "hostname";
  const auto config_of = [&](const std::string& name) {
    return nlohmann::json{
        {"hostname", name},
        {"process", {{"env", {"PATH=/bin", "HOSTNAME=" + name, "OTHER=" + name}}}},
        {"mounts",
         {{{"destination", "/proc"}, {"source", "proc"}},
          {{"destination", "/etc/hostname"}, {"source", file}}}}};
  };
  auto config = config_of("parent");
  base::write_file(bundle / "config.json", config.dump());
  base::write_file(file, "parent\n");
  set_podman_host_name(bundle.path(), "clone");
  config["hostname"] = "clone";
  config["process"]["env"][1] = "HOSTNAME=clone";
  EXPECT_EQ(nlohmann::json::parse(base::read_file(bundle / "config.json")), config);
  EXPECT_EQ(base::read_file(file), "clone\n");
  // A file of the user's own, and a container in the guest's own name space.
  base::write_file(file, "chosen\n");
  base::write_file(bundle / "config.json", config_of("parent").dump());
  set_podman_host_name(bundle.path(), "clone");
  EXPECT_EQ(base::read_file(file), "chosen\n");
  base::write_file(bundle / "config.json", "{}");
  set_podman_host_name(bundle.path(), "clone");
  EXPECT_EQ(base::read_file(bundle / "config.json"), "{}");
  base::write_file(bundle / "config.json", R"({"hostname":"parent"})");
  EXPECT_THROW(set_podman_host_name(bundle.path(), "clone"), base::Error);
}

TEST_F(PodmanContainerTest, EndBeforePodmansOwnIsToldAtOnce) {
  const auto client = start_shell("slow", "exit 21");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 21);
  EXPECT_TRUE(client->started());
}

TEST_F(PodmanContainerTest, ContainerThatKillsItselfEndsBySignal) {
  const auto client = start_shell("slow", "kill -9 $$");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 0, SIGKILL);
}

TEST_F(PodmanContainerTest, TerminalHasItsSizeFromTheBeginning) {
  const auto client = start("run", {"/bin/sh", "-c", "stty size"}, true);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 0);
  EXPECT_EQ(client->out(), "33 111\r\n");
}

TEST_F(PodmanContainerTest, SignalWaitsUntilPodmanHasStartedIt) {
  const auto client = start("slow", {"sleep", "30"});
  ASSERT_TRUE(wait([&] { return service_.container_alive(); }));
  EXPECT_FALSE(service_.container_running());
  service_.signal_container(SIGTERM, false);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  EXPECT_TRUE(client->started());
  expect_end(*client, ProcessEvent::Kind::kExited, 0, SIGTERM);
}

TEST_F(PodmanContainerTest, PodmansRefusalIsTheMessage) {
  const auto client = start_shell("no-image", "true");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kFailed, 125);
  EXPECT_EQ(client->last()->message, "podman: no such image");
  EXPECT_FALSE(base::path_exists(directory_ / "disk/container-id"));
}

TEST_F(PodmanContainerTest, CrunsComplaintReachesUsThroughPodman) {
  const auto client = start("run", {"fail", "executable file `x` not found"});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kFailed, 127);
  EXPECT_EQ(client->last()->message, "podman: it was not found");
  EXPECT_EQ(client->err(), "");
  EXPECT_FALSE(client->started());
}

TEST_F(PodmanContainerTest, ContainerPodmanCouldNotStartHasFailedAndNotEnded) {
  const auto client = start("no-start", {"sleep", "30"});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kFailed, 126);
  EXPECT_EQ(client->last()->message, "podman: it could not be started");
  EXPECT_FALSE(client->started());
}

TEST_F(PodmanContainerTest, RuntimeThatHangsIsGivenUp) {
  const auto client = start("run", {"hang"});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kFailed, 125);
  EXPECT_NE(client->last()->message.find("it did not finish within 3000 ms"), std::string::npos)
      << client->last()->message;
}

TEST_F(PodmanContainerTest, ContainerOfAnEarlierBootIsStartedAgain) {
  directory_.write("disk/container-id", kFakeContainerId);
  const auto client = start_shell("no-image", "exit 4");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 4);
  EXPECT_EQ(base::read_file(directory_ / "started"), kFakeContainerId);
}

TEST(ConmonArgumentsTest, OnlyWhatMakesTheContainerIsKept) {
  const ConmonRequest request = parse_conmon_arguments({"--api-version",
                                                        "1",
                                                        "-c",
                                                        "id",
                                                        "-t",
                                                        "-r",
                                                        "/usr/bin/crun",
                                                        "-b",
                                                        "/b",
                                                        "-p",
                                                        "/p",
                                                        "--full-attach",
                                                        "--runtime-arg",
                                                        "--log-format=json",
                                                        "--runtime-arg=--debug",
                                                        "-l",
                                                        "-s",
                                                        "--no-pivot",
                                                        "--exit-command-arg",
                                                        "-c",
                                                        "--conmon-pidfile",
                                                        "/c"});
  EXPECT_EQ(request.container_id, "id");
  EXPECT_EQ(request.conmon_pid_file, "/c");
  EXPECT_EQ(create_arguments(request, "/s"),
            (std::vector<std::string>{"/usr/bin/crun", "--log-format=json", "--debug", "create",
                                      "--bundle", "/b", "--pid-file", "/p", "--console-socket",
                                      "/s", "--no-pivot", "id"}));
}

TEST(ConmonArgumentsTest, MissingOptionIsNamed) {
  try {
    parse_conmon_arguments({"-c", "id", "-b", "/b", "-r", "/r"});
    ADD_FAILURE();
  } catch (const base::Error& error) {
    EXPECT_NE(std::string(error.what()).find("-p"), std::string::npos);
  }
}

TEST(PodmanFailureTest, LastLineSaysWhy) {
  EXPECT_EQ(podman_failure("time=x level=warning\nError: no\n\n", "nothing"), "podman: no");
  EXPECT_EQ(podman_failure("", "nothing"), "podman: nothing");
}

}  // namespace
}  // namespace fc_agent
