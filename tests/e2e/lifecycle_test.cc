// What the other commands say of a VM and do to it: ls, inspect, wait, stop, kill, rm, version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/support/fcvm.h"

namespace tests {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string json_of(const std::string& name) {
  const Outcome outcome = fcvm({"ls", "-a", "--json"});
  const auto list = nlohmann::json::parse(outcome.out, nullptr, false);
  if (!list.is_array()) {
    return "no JSON array: " + outcome.out;
  }
  for (const auto& vm : list) {
    if (vm.value("name", "") == name) {
      return vm.dump();
    }
  }
  return "";
}

TEST(LifecycleTest, ARunningVmIsListedStoppedAndRemoved) {
  const Vm vm;
  EXPECT_THAT(fcvm({"ls"}).out, HasSubstr(vm.name()));
  EXPECT_THAT(fcvm({"ls"}).out, StartsWith("NAME"));
  EXPECT_THAT(fcvm({"ps"}).out, HasSubstr(vm.name()));
  EXPECT_THAT(fcvm({"ls", "-q"}).out, HasSubstr(vm.id().substr(0, 12)));
  EXPECT_THAT(fcvm({"ls", "--filter", "name=" + vm.name()}).out, HasSubstr(vm.name()));
  EXPECT_THAT(fcvm({"ls", "--filter", "name=no-such-name"}).out, Not(HasSubstr(vm.name())));
  EXPECT_THAT(json_of(vm.name()), HasSubstr("\"status\":\"running\""));

  const auto document = nlohmann::json::parse(fcvm({"inspect", vm.name()}).out, nullptr, false);
  EXPECT_FALSE(document.is_discarded());
  EXPECT_EQ(inspect(vm.name(), "/State/Running"), "true");

  const std::string monitor = inspect(vm.name(), "/State/MonitorPid");
  EXPECT_EQ(inspect(monitor, "/Name"), vm.name()) << "a VM may be named by its monitor's pid";

  const Outcome refused = fcvm({"rm", vm.name()});
  EXPECT_EQ(refused.status, 125) << refused;
  EXPECT_THAT(refused.err, HasSubstr("running"));

  const Outcome stopped = fcvm({"stop", vm.name()});
  EXPECT_EQ(stopped.status, 0) << stopped;
  EXPECT_EQ(stopped.out, vm.name() + "\n");
  EXPECT_EQ(inspect(vm.name(), "/State/Status"), "exited");
  EXPECT_EQ(inspect(vm.name(), "/State/ExitCode"), "0");
  EXPECT_THAT(fcvm({"ls"}).out, Not(HasSubstr(vm.name())));
  EXPECT_THAT(fcvm({"ls", "-a"}).out, HasSubstr(vm.name()));
  EXPECT_EQ(fcvm({"stop", vm.name()}).status, 0) << "stopping a stopped one is no error";

  const Outcome exec = vm.exec({"true"});
  EXPECT_EQ(exec.status, 125) << exec;
  EXPECT_THAT(exec.err, HasSubstr("exited"));
  EXPECT_EQ(fcvm({"wait", vm.name()}).out, "0\n");

  const Outcome removed = fcvm({"rm", vm.name()});
  EXPECT_EQ(removed.status, 0) << removed;
  EXPECT_EQ(removed.out, vm.name() + "\n");
  EXPECT_THAT(fcvm({"ls", "-a"}).out, Not(HasSubstr(vm.name())));
  EXPECT_EQ(fcvm({"inspect", vm.name()}).status, 125);
}

TEST(LifecycleTest, StopKillsWhatIgnoresItsSignalInTime) {
  const Vm vm({}, {"sleep", "1000"});
  const auto begin = std::chrono::steady_clock::now();
  const Outcome outcome = fcvm({"stop", "-t", "1", vm.name()});
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_GE(took, std::chrono::seconds(1));
  EXPECT_LT(took, std::chrono::seconds(30));
  EXPECT_EQ(inspect(vm.name(), "/State/ExitCode"), std::to_string(128 + SIGKILL));
}

TEST(LifecycleTest, InitPassesTheStopSignalOn) {
  // A signal that finds the init before it listens is lost, with podman too.
  const Vm vm({"--init"}, {"sh", "-c", "echo ready; exec sleep 1000"});
  EXPECT_EQ(fcvm({"stop", "-t", "60", vm.name()}).status, 0);
  EXPECT_EQ(inspect(vm.name(), "/State/ExitCode"), std::to_string(128 + SIGTERM));
}

TEST(LifecycleTest, OwnStopSignalIsSent) {
  const Vm vm({"--stop-signal", "SIGUSR2"}, Vm::sleeping_command("USR2", "exit 21"));
  EXPECT_EQ(fcvm({"stop", "-t", "60", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"wait", vm.name()}).out, "21\n");
}

TEST(LifecycleTest, WaitReturnsTheStatusWhenTheContainerEnds) {
  const Vm vm({}, Vm::sleeping_command("TERM", "exit 33"));
  Process wait(fcvm_command({"wait", vm.name()}));
  EXPECT_FALSE(wait.wait_for_out("\n", std::chrono::milliseconds(300)));
  EXPECT_EQ(fcvm({"kill", "-s", "TERM", vm.name()}).status, 0);
  const Outcome outcome = wait.wait();
  EXPECT_EQ(outcome.out, "33\n") << outcome;
  EXPECT_EQ(outcome.status, 0);
}

TEST(LifecycleTest, WaitForTheEndOfAVmThatIsRemovedThenReturnsItsStatus) {
  for (const char* condition : {"exited", "stopped"}) {
    const Vm vm({"--rm"}, Vm::sleeping_command("TERM", "exit 33"));
    Process wait(fcvm_command({"wait", "--condition", condition, vm.name()}));
    EXPECT_FALSE(wait.wait_for_out("\n", std::chrono::milliseconds(300)));
    EXPECT_EQ(fcvm({"kill", "-s", "TERM", vm.name()}).status, 0);
    const Outcome outcome = wait.wait();
    EXPECT_EQ(outcome.out, "33\n") << outcome;
    EXPECT_EQ(outcome.status, 0);
  }
}

TEST(LifecycleTest, KillWithoutASignalKills) {
  const Vm vm;
  EXPECT_EQ(fcvm({"kill", vm.name()}).status, 0);
  EXPECT_EQ(fcvm({"wait", vm.name()}).out, std::to_string(128 + SIGKILL) + "\n");
  const Outcome again = fcvm({"kill", vm.name()});
  EXPECT_EQ(again.status, 125) << again;
}

TEST(LifecycleTest, NameOfAnotherVmIsRefusedUntilThatIsGone) {
  const LeakCheck before;
  const std::string name = unique_name("name");
  const RemoveAtEnd remove(name);
  ASSERT_EQ(fcvm(run_args({"--name", name}, {"sh", "-c", "exit 2"})).status, 2);
  const LeakCheck taken;
  const Outcome outcome = fcvm(run_args({"--rm", "--name", name}, {"true"}));
  EXPECT_EQ(outcome.status, 125) << outcome;
  EXPECT_THAT(outcome.err, HasSubstr(name));
  EXPECT_EQ(taken.diff(), "");
  EXPECT_EQ(inspect(name, "/State/ExitCode"), "2");
  EXPECT_EQ(fcvm({"rm", name}).status, 0);
  EXPECT_EQ(before.diff(), "");
}

TEST(LifecycleTest, VmWithADamagedRecordIsNamedAndCanBeRemoved) {
  const std::string name = unique_name("damaged");
  const RemoveAtEnd remove(name);
  ASSERT_EQ(fcvm(run_args({"--name", name}, {"true"})).status, 0);
  const std::string id = inspect(name, "/Id");
  ASSERT_EQ(id.size(), 64U);
  std::filesystem::resize_file(data_dir() / "state" / (id + ".json"), 100);
  const Outcome first = fcvm({"ls"});
  EXPECT_EQ(first.status, 0);
  EXPECT_THAT(first.err, HasSubstr("the record of VM " + id + " is damaged"));
  EXPECT_EQ(fcvm({"ls"}).err, "");
  EXPECT_THAT(fcvm({"ls", "-a"}).err, HasSubstr("fcvm rm " + id.substr(0, 12)));
  EXPECT_TRUE(std::filesystem::exists(data_dir() / "vm-disks" / id));
  const Outcome removed = fcvm({"rm", id.substr(0, 12)});
  EXPECT_EQ(removed.status, 0) << removed;
  EXPECT_FALSE(std::filesystem::exists(data_dir() / "vm-disks" / id));
  EXPECT_EQ(fcvm({"ls", "-a"}).err, "");
}

TEST(LifecycleTest, ForceRemovesARunningVmAndNamesSeveral) {
  const Vm one;
  const Vm two;
  const Outcome outcome = fcvm({"rm", "-f", "-t", "0", one.name(), two.name()});
  EXPECT_EQ(outcome.status, 0) << outcome;
  EXPECT_EQ(outcome.out, one.name() + "\n" + two.name() + "\n");
  EXPECT_EQ(fcvm({"inspect", one.name()}).status, 125);
  EXPECT_EQ(fcvm({"inspect", two.name()}).status, 125);
}

TEST(LifecycleTest, TemplatesPickFieldsAsWithPodman) {
  const Vm vm({"--label", "kind=web"});
  const std::string short_id = vm.id().substr(0, 12);
  const auto listed = [&](const std::string& format) {
    return fcvm({"ls", "--filter", "name=" + vm.name(), "--format", format});
  };
  EXPECT_EQ(listed("{{.ID}}\\t{{.Names}} {{.Labels.kind}} {{.ExitCode}}").out,
            short_id + "\t" + vm.name() + " web 0\n");
  EXPECT_THAT(listed("table {{.ID}} {{.Status}}").out,
              testing::MatchesRegex("CONTAINER ID  STATUS\n" + short_id + "  Up .* ago\n"));
  EXPECT_EQ(nlohmann::json::parse(listed("json").out).at(0).at("Id"), vm.id());
  const Outcome unknown = listed("{{.Nope}}");
  EXPECT_EQ(unknown.status, 125);
  EXPECT_THAT(unknown.err, StartsWith("fcvm: ls: --format: template: there is no field .Nope\n"));
  EXPECT_EQ(fcvm({"ls", "--format", "{{.ID"}).status, 125);

  const auto inspected = [&](const std::string& format) {
    return fcvm({"inspect", "--format", format, vm.name()});
  };
  EXPECT_EQ(inspected("{{.State.ExitCode}} {{.State.Running}} {{.Name}} {{.Id}}").out,
            "0 true " + vm.name() + " " + vm.id() + "\n");
  EXPECT_EQ(inspected("{{.Config.Image}}").out, busybox() + "\n");
  EXPECT_EQ(inspected("{{json .Config.Labels}}").out, "{\"kind\":\"web\"}\n");
  EXPECT_THAT(inspected("{{.State.StartedAt}}").out,
              testing::MatchesRegex("20..-..-.. ..:..:..[.0-9]* .0000 UTC\n"));
  EXPECT_EQ(inspected("{{.State.Nope}}").status, 125);
  const auto snake = nlohmann::json::parse(fcvm({"inspect", "--json", vm.name()}).out);
  EXPECT_EQ(snake.at(0).at("state").at("exit_code"), 0);
  EXPECT_EQ(snake.at(0).at("config").at("labels").at("kind"), "web");
}

TEST(LifecycleTest, VersionIsPrintedAsTextAndAsJson) {
  const Outcome text = fcvm({"version"});
  EXPECT_EQ(text.status, 0);
  EXPECT_NE(text.out, "");
  const Outcome json = fcvm({"version", "--json"});
  EXPECT_EQ(json.status, 0);
  const auto document = nlohmann::json::parse(json.out, nullptr, false);
  ASSERT_TRUE(document.is_object()) << json;
  EXPECT_THAT(text.out, HasSubstr(document.value("version", "missing")));
}

}  // namespace
}  // namespace tests
