// Containers and what is executed in them, with a stand-in for crun: what the agent does around it.
#include "base/files.h"
#include "fc-agent/container_test_support.h"
#include "tests/support/requirements.h"
#include "wire/control.h"

namespace fc_agent {
namespace {

using std::chrono::milliseconds;
using wire::ControlReply;
using wire::ControlRequest;
using wire::ProcessCommand;
using wire::ProcessEvent;
using wire::ProcessStart;

class ContainerProcessTest : public ContainerTest {
 protected:
  // A container whose first process is `args`, started.
  std::unique_ptr<ProcessTestClient> start_container(const std::vector<std::string>& args,
                                                     bool tty = false) {
    return start_plan({"c1", directory_ / "bundle", {}}, nlohmann::json::object(), args, tty);
  }
  std::unique_ptr<ProcessTestClient> start_container_shell(const std::string& script) {
    return start_container({"/bin/sh", "-c", script});
  }

  std::unique_ptr<ProcessTestClient> exec(const std::vector<std::string>& args, bool tty = false) {
    ProcessStart start;
    start.kind = ProcessStart::Kind::kExec;
    start.tty = tty;
    start.use_stdin = tty;
    start.rows = tty ? 20 : 0;
    start.columns = tty ? 60 : 0;
    start.process_json = process_json(args, tty);
    return std::make_unique<ProcessTestClient>(*host_, "exec" + std::to_string(next_id_++), start);
  }

  ControlReply ask(const ControlRequest& request) {
    wire::MessageStream stream(host_->open(wire::kControlService, ""));
    std::optional<ControlReply> reply;
    stream.set_handler({[&](std::string_view text) { reply = wire::parse_control_reply(text); },
                        nullptr, nullptr});
    stream.send(wire::to_json(request));
    EXPECT_TRUE(wait([&] { return reply.has_value(); }));
    return reply.value_or(ControlReply{});
  }

  int next_id_ = 0;
};

TEST_F(ContainerProcessTest, ExecsUsersAreThoseTheContainerSeesNow) {
  FCVM_REQUIRE(root);
  // Its passwd is mounted over the one its root has.
  const std::string passwd = directory_.write("passwd", "root:x:0:0::/root:\n");
  const auto container = start_container({"unshare", "--mount", "--", "sh", "-c",
                                          "mount --bind \"$0\" /etc/passwd && echo ready && "
                                          "exec sleep 30",
                                          passwd});
  ASSERT_TRUE(wait([&] { return container->started() && container->out() == "ready\n"; }))
      << container->err();
  ProcessStart start;
  start.kind = ProcessStart::Kind::kExec;
  start.use_stdin = false;
  auto process = nlohmann::json::parse(process_json({"/bin/true"}, false));
  process["resolve_user"] = {{"user", "late"},
                             {"root_capabilities", nlohmann::json::object()},
                             {"other_capabilities", nlohmann::json::object()}};
  start.process_json = process.dump();
  const ProcessTestClient unknown(*host_, "unknown", start);
  ASSERT_TRUE(wait([&] { return unknown.done(); }));
  expect_end(unknown, ProcessEvent::Kind::kFailed, 125);
  EXPECT_NE(unknown.last()->message.find("unable to find user late"), std::string::npos);
  directory_.write("passwd", "late:x:7:7::/:\n");
  const ProcessTestClient known(*host_, "known", start);
  ASSERT_TRUE(wait([&] { return known.done(); }));
  expect_end(known, ProcessEvent::Kind::kExited, 0);
  service_.signal_container(SIGKILL, false);
  ASSERT_TRUE(wait([&] { return container->done(); }));
}

TEST_F(ContainerProcessTest, StatusAndOutputAreTheContainersOwn) {
  bool ended = false;
  service_.on_container_ended([&] { ended = true; });
  const auto client = start_container_shell("echo out; echo err >&2; exit 37");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 37);
  EXPECT_EQ(client->out(), "out\n");
  EXPECT_EQ(client->err(), "err\n");
  EXPECT_TRUE(ended);
  // Nothing of the start is left behind.
  EXPECT_TRUE(base::list_directory(directory_ / "run").empty());
}

TEST_F(ContainerProcessTest, EndBeforeTheRuntimeItselfIsNotLost) {
  const auto client = start_container({"slow", "/bin/sh", "-c", "echo quick; exit 21"});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 21);
  EXPECT_TRUE(client->started());
  EXPECT_EQ(client->out(), "quick\n");
}

TEST_F(ContainerProcessTest, RuntimesComplaintIsTheMessageAndNotTheContainersStderr) {
  bool ended = false;
  service_.on_container_ended([&] { ended = true; });
  const auto client = start_container(
      {"fail", "executable file `nothere` not found in $PATH: No such file or directory"});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kFailed, 127);
  EXPECT_EQ(client->last()->message,
            "crun: executable file `nothere` not found in $PATH: No such file or directory");
  EXPECT_EQ(client->err(), "");
  EXPECT_TRUE(ended);
  EXPECT_FALSE(service_.container_running());
}

TEST_F(ContainerProcessTest, RuntimeThatHangsIsGivenUp) {
  const auto client = start_container({"hang"});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kFailed, 125);
  EXPECT_EQ(client->last()->message, "crun: it did not finish within 3000 ms");
}

TEST_F(ContainerProcessTest, SignalSentWhileTheRuntimeIsAtItIsDelivered) {
  const auto client = start_container({"slow", "sleep", "30"});
  ASSERT_TRUE(wait([&] { return service_.container_alive(); }));
  EXPECT_FALSE(service_.container_running());
  ControlRequest request;
  request.op = ControlRequest::Op::kSignalContainer;
  request.signal = SIGTERM;
  EXPECT_TRUE(ask(request).ok);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 0, SIGTERM);
}

TEST_F(ContainerProcessTest, ContainerStartsOnlyOnce) {
  const auto first = start_container_shell("exec sleep 30");
  ASSERT_TRUE(wait([&] { return first->started(); }));
  ProcessStart start;
  start.kind = ProcessStart::Kind::kContainer;
  const ProcessTestClient second(*host_, "again", start);
  ASSERT_TRUE(wait([&] { return second.done(); }));
  expect_end(second, ProcessEvent::Kind::kFailed, 125);
  service_.signal_container(SIGKILL, false);
  ASSERT_TRUE(wait([&] { return first->done(); }));
  expect_end(*first, ProcessEvent::Kind::kExited, 0, SIGKILL);
}

TEST_F(ContainerProcessTest, ExecRunsBesideTheContainer) {
  const auto container = start_container_shell("exec sleep 30");
  ASSERT_TRUE(wait([&] { return container->started(); }));
  const auto good = exec({"/bin/sh", "-c", "echo in; echo bad >&2; exit 9"});
  const auto missing =
      exec({"fail", "executable file `x` not found in $PATH: No such file or directory"});
  const auto denied = exec({"fail", "open executable: Permission denied"});
  const auto other = exec({"fail", "cannot set memory limit"});
  ASSERT_TRUE(
      wait([&] { return good->done() && missing->done() && denied->done() && other->done(); }));
  expect_end(*good, ProcessEvent::Kind::kExited, 9);
  EXPECT_EQ(good->out(), "in\n");
  EXPECT_EQ(good->err(), "bad\n");
  expect_end(*missing, ProcessEvent::Kind::kFailed, 127);
  expect_end(*denied, ProcessEvent::Kind::kFailed, 126);
  expect_end(*other, ProcessEvent::Kind::kFailed, 125);
  EXPECT_TRUE(service_.container_running());
  service_.signal_container(SIGTERM, false);
  ASSERT_TRUE(wait([&] { return container->done(); }));
}

TEST_F(ContainerProcessTest, TerminalComesFromTheRuntimeWithItsSize) {
  const auto client =
      start_container({"/bin/sh", "-c", "stty size; read line; echo got $line; exit 4"}, true);
  ASSERT_TRUE(wait([&] { return client->out() == "33 111\r\n"; })) << client->out();
  client->feed("hello\n", false);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 4);
  EXPECT_EQ(client->out(), "33 111\r\nhello\r\ngot hello\r\n");
}

TEST_F(ContainerProcessTest, ExecGetsATerminalOfItsOwn) {
  const auto container = start_container_shell("exec sleep 30");
  ASSERT_TRUE(wait([&] { return container->started(); }));
  const auto client = exec({"/bin/sh", "-c", "stty size; exit 6"}, true);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_end(*client, ProcessEvent::Kind::kExited, 6);
  EXPECT_EQ(client->out(), "20 60\r\n");
  service_.signal_container(SIGKILL, false);
  ASSERT_TRUE(wait([&] { return container->done(); }));
}

TEST_F(ContainerProcessTest, CloneTakesOverStreamsSignalsAndEndOfTheContainer) {
  const nlohmann::json config{
      {"process", nlohmann::json::parse(shell_process_json(
                      "trap 'echo caught' USR1; echo begins; "
                      "while :; do if read l; then echo \"got $l\"; else [ $? -gt 128 ] || break; "
                      "fi; done; echo complaint >&2; exit 7"))}};
  directory_.write("bundle/config.json", config.dump());
  ProcessStart start;
  start.kind = ProcessStart::Kind::kContainer;
  start.use_stdin = true;
  ProcessTestClient before(*host_, "p1", start);
  service_.set_ready({"c1", directory_ / "bundle", {}});
  ASSERT_TRUE(wait([&] { return before.started() && before.out() == "begins\n"; }));

  ASSERT_NO_FATAL_FAILURE(change_host());
  EXPECT_TRUE(service_.container_running());
  start.kind = ProcessStart::Kind::kAttach;
  // Under the same id: it is another host's.
  ProcessTestClient after(*host_, "p1", start);
  ASSERT_TRUE(wait([&] { return after.pid() != 0; }));
  after.feed("one\n", false);
  EXPECT_TRUE(wait([&] { return after.out() == "got one\n"; })) << after.out();
  service_.signal_container(SIGUSR1, false);
  EXPECT_TRUE(wait([&] { return after.out() == "got one\ncaught\n"; })) << after.out();
  after.feed("", true);
  ASSERT_TRUE(wait([&] { return after.last().has_value(); }));
  EXPECT_EQ(after.last()->code, 7);
  EXPECT_EQ(after.err(), "complaint\n");
  EXPECT_FALSE(service_.container_alive());
}

TEST_F(ContainerProcessTest, AttachWithoutAChangeOfHostIsRefused) {
  const auto container = start_container({"/bin/sleep", "60"});
  ASSERT_TRUE(wait([&] { return container->pid() != 0; }));
  ProcessStart start;
  start.kind = ProcessStart::Kind::kAttach;
  ProcessTestClient client(*host_, "a", start);
  ASSERT_TRUE(wait([&] { return client.last().has_value(); }));
  EXPECT_EQ(client.last()->kind, ProcessEvent::Kind::kFailed);
  service_.signal_container(SIGKILL, false);
  EXPECT_TRUE(wait([&] { return container->last().has_value(); }));
}

TEST_F(ContainerProcessTest, ControlAnswersPingStatsAndSignals) {
  const auto container =
      start_container_shell("trap 'exit 11' USR1; echo up; while :; do sleep 0.1; done");
  ASSERT_TRUE(wait([&] { return container->started() && container->out() == "up\n"; }));

  ControlRequest request;
  request.id = 7;
  ControlReply reply = ask(request);
  EXPECT_EQ(reply.id, 7U);
  EXPECT_TRUE(reply.ok);

  request.op = ControlRequest::Op::kStats;
  reply = ask(request);
  EXPECT_GT(reply.mem_total_kib, reply.mem_available_kib);
  EXPECT_GT(reply.agent_private_kib, 0U);
  EXPECT_GT(reply.processes, 1U);

  request.op = ControlRequest::Op::kSignalContainer;
  request.signal = SIGUSR1;
  EXPECT_TRUE(ask(request).ok);
  ASSERT_TRUE(wait([&] { return container->done(); }));
  expect_end(*container, ProcessEvent::Kind::kExited, 11);

  reply = ask(request);
  EXPECT_FALSE(reply.ok);
  EXPECT_EQ(reply.error, "the container is not running");
}

TEST_F(ContainerProcessTest, ControlPassesOnTheShutdownOrderAndReportsItsEnd) {
  ControlRequest request;
  request.id = 3;
  request.op = ControlRequest::Op::kShutdown;
  request.signal = SIGINT;
  request.timeout_ms = 1500;
  const ControlReply reply = ask(request);
  EXPECT_TRUE(reply.ok);
  EXPECT_EQ(reply.id, 3U);
  EXPECT_EQ(shutdown_signal_, SIGINT);
  EXPECT_EQ(shutdown_timeout_, milliseconds(1500));
}

TEST_F(ContainerProcessTest, MalformedControlRequestCostsItsStream) {
  wire::MessageStream stream(host_->open(wire::kControlService, ""));
  std::optional<wire::ResetReason> reset;
  stream.set_handler({nullptr, nullptr, [&](wire::ResetReason reason) { reset = reason; }});
  stream.send("[]");
  ASSERT_TRUE(wait([&] { return reset.has_value(); }));
  EXPECT_EQ(*reset, wire::ResetReason::kProtocol);
  EXPECT_TRUE(ask({}).ok);
}

}  // namespace
}  // namespace fc_agent
