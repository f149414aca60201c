// The process machinery without a VM: processes of the test's own machine, over a socket pair.
#include "fc-agent/process_service.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/event_loop.h"
#include "base/fd.h"
#include "fc-agent/process_test_client.h"
#include "fc-agent/reaper.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"
#include "wire/mux_link.h"

namespace fc_agent {
namespace {

using std::chrono::milliseconds;
using wire::ProcessCommand;
using wire::ProcessEvent;
using wire::ProcessStart;

constexpr milliseconds kLimit{20'000};

class ProcessServiceTest : public ::testing::Test {
 protected:
  ProcessServiceTest() {
    ::signal(SIGPIPE, SIG_IGN);
    auto sockets = base::make_socket_pair(SOCK_STREAM);
    wire::MuxOptions host_options;
    host_options.side = wire::Side::kHost;
    wire::MuxOptions guest_options;
    guest_options.side = wire::Side::kGuest;
    host_ = wire::make_mux_link(loop_, std::move(sockets.first), host_options);
    host_->set_handler({});
    guest_ = wire::make_mux_link(loop_, std::move(sockets.second), guest_options);
    wire::Link::Handler handler;
    handler.on_stream = [this](std::unique_ptr<wire::Stream> stream, const std::string& service,
                               const std::string& id) {
      service_.accept(std::move(stream), service, id);
    };
    guest_->set_handler(std::move(handler));
  }

  bool wait(const std::function<bool()>& done, milliseconds limit = kLimit) {
    return loop_.run_until(done, limit);
  }

  std::unique_ptr<ProcessTestClient> open(ProcessStart start) {
    return std::make_unique<ProcessTestClient>(*host_, "p" + std::to_string(next_id_++), start);
  }

  static ProcessStart guest_shell(std::string_view script, bool use_stdin = false) {
    ProcessStart start;
    start.kind = ProcessStart::Kind::kGuest;
    start.use_stdin = use_stdin;
    start.process_json = shell_process_json(script);
    return start;
  }

  // Runs a script to its end.
  std::unique_ptr<ProcessTestClient> run(std::string_view script) {
    auto client = open(guest_shell(script));
    EXPECT_TRUE(wait([&] { return client->done(); })) << script;
    return client;
  }

  static void expect_exit(const ProcessTestClient& client, int code, int signal = 0) {
    ASSERT_TRUE(client.last().has_value());
    EXPECT_EQ(client.last()->kind, ProcessEvent::Kind::kExited) << client.last()->message;
    EXPECT_EQ(client.last()->code, code);
    EXPECT_EQ(client.last()->signal, signal);
  }

  static void expect_failed(const ProcessTestClient& client, int code) {
    ASSERT_TRUE(client.last().has_value());
    EXPECT_EQ(client.last()->kind, ProcessEvent::Kind::kFailed);
    EXPECT_EQ(client.last()->code, code) << client.last()->message;
  }

  tests::TempDir directory_;
  base::EventLoop loop_;
  Reaper reaper_{loop_};
  ProcessService service_{ProcessContext{loop_, reaper_, {}, {}, directory_ / "run"}};
  std::unique_ptr<wire::Link> host_;
  std::unique_ptr<wire::Link> guest_;
  int next_id_ = 0;
};

// Most tests want a guest that is up.
class ReadyProcessServiceTest : public ProcessServiceTest {
 protected:
  ReadyProcessServiceTest() { service_.set_ready({"c1", directory_ / "bundle", {}}); }
};

TEST_F(ReadyProcessServiceTest, StdoutStderrAndStatusArriveApart) {
  const auto client = run("echo out; echo err >&2; exit 37");
  expect_exit(*client, 37);
  EXPECT_EQ(client->out(), "out\n");
  EXPECT_EQ(client->err(), "err\n");
  EXPECT_TRUE(client->started());
}

TEST_F(ReadyProcessServiceTest, DeathBySignalIsReportedAsSignal) {
  expect_exit(*run("kill -9 $$"), 0, SIGKILL);
}

TEST_F(ReadyProcessServiceTest, UnknownProgramIs127AndUnrunnableOneIs126) {
  ProcessStart start = guest_shell("");
  start.process_json = process_json({"no-such-program"});
  const auto missing = open(start);
  start.process_json = process_json({directory_.write("plain", "text")});
  const auto plain = open(start);
  start.process_json = process_json({"/etc"});
  const auto folder = open(start);
  ASSERT_TRUE(wait([&] { return missing->done() && plain->done() && folder->done(); }));
  expect_failed(*missing, 127);
  expect_failed(*plain, 126);
  expect_failed(*folder, 126);
}

TEST_F(ReadyProcessServiceTest, WithoutStdinTheProcessReadsNothing) {
  const auto client = run("cat; echo end");
  expect_exit(*client, 0);
  EXPECT_EQ(client->out(), "end\n");
}

TEST_F(ReadyProcessServiceTest, SixtyFourMebibytesPassThroughCatUnchanged) {
  std::string data(64 << 20, '\0');
  std::uint32_t state = 1;
  for (char& c : data) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  const auto client = open(guest_shell("exec cat", true));
  client->feed(data);
  ASSERT_TRUE(wait([&] { return client->done(); }, milliseconds(60'000)));
  expect_exit(*client, 0);
  EXPECT_EQ(client->out_bytes_at_exit(), data.size());
  EXPECT_TRUE(client->out() == data);
}

TEST_F(ReadyProcessServiceTest, ExitComesAfterAllOutput) {
  const auto client = run("head -c 3000000 /dev/zero; exit 4");
  expect_exit(*client, 4);
  EXPECT_EQ(client->out_bytes_at_exit(), 3'000'000U);
}

TEST_F(ReadyProcessServiceTest, StalledStdoutHoldsUpNeitherStderrNorOthers) {
  const auto client =
      open(guest_shell("head -c 4000000 /dev/zero & echo first >&2; wait; echo last >&2"));
  client->stall_stdout();
  ASSERT_TRUE(wait([&] { return client->out().size() == wire::kStreamWindowBytes; }));
  EXPECT_TRUE(wait([&] { return client->err() == "first\n"; }));
  expect_exit(*run("exit 3"), 3);
  EXPECT_FALSE(client->done());
  client->unstall_stdout();
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 0);
  EXPECT_EQ(client->out().size(), 4'000'000U);
  EXPECT_EQ(client->err(), "first\nlast\n");
}

TEST_F(ReadyProcessServiceTest, ProcessOutlivesAConsumerThatWentAway) {
  const auto client = open(guest_shell("while head -c 100000 /dev/zero; do :; done; exit 9", true));
  ASSERT_TRUE(wait([&] { return client->out().size() > 500'000; }));
  client->reset_stdio();
  client->reset_stderr();
  EXPECT_FALSE(wait([&] { return client->done(); }, milliseconds(300)));
  ASSERT_TRUE(client->started());
  // It is not stuck on a full pipe: it goes on making new processes.
  ProcessCommand command;
  command.kind = ProcessCommand::Kind::kSignal;
  command.signal = SIGTERM;
  client->send(command);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 0, SIGTERM);
}

TEST_F(ReadyProcessServiceTest, OutputIsDrainedAfterResetEvenWhileStdinIsFull) {
  const auto client = open(guest_shell("head -c 2000000 /dev/zero; exit 6", true));
  client->stall_stdout();
  client->feed(std::string(200'000, 'x'), false);
  ASSERT_TRUE(wait([&] { return client->out().size() == wire::kStreamWindowBytes; }));
  client->reset_stdio();
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 6);
}

TEST_F(ReadyProcessServiceTest, GrandchildThatKeepsThePipeIsNotWaitedFor) {
  const auto begin = std::chrono::steady_clock::now();
  const auto client = run("sleep 30 & echo now; exit 2");
  expect_exit(*client, 2);
  EXPECT_EQ(client->out(), "now\n");
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(ReadyProcessServiceTest, GrandchildIsNotWaitedForAfterTheConsumerWentAway) {
  const auto client = open(guest_shell("sleep 30 & head -c 300000 /dev/zero; exit 2"));
  client->stall_stdout();
  // Ended, but what the pipe holds has no credit to leave.
  ASSERT_TRUE(wait([&] { return client->started() && ::kill(client->pid(), 0) != 0; }));
  EXPECT_FALSE(client->done());
  client->reset_stdio();
  ASSERT_TRUE(wait([&] { return client->done(); }, milliseconds(10'000)));
  expect_exit(*client, 2);
}

TEST_F(ReadyProcessServiceTest, TwentyAtOnceKeepTheirOutputApart) {
  std::vector<std::unique_ptr<ProcessTestClient>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(
        open(guest_shell("echo " + std::to_string(i) + "; exit " + std::to_string(i))));
  }
  ASSERT_TRUE(wait([&] {
    return std::all_of(clients.begin(), clients.end(), [](auto& c) { return c->done(); });
  }));
  for (int i = 0; i < 20; ++i) {
    expect_exit(*clients[static_cast<std::size_t>(i)], i);
    EXPECT_EQ(clients[static_cast<std::size_t>(i)]->out(), std::to_string(i) + "\n");
  }
}

TEST_F(ReadyProcessServiceTest, TerminalHasItsSizeFromTheStartAndIsResized) {
  ProcessStart start;
  start.kind = ProcessStart::Kind::kGuest;
  start.tty = true;
  start.use_stdin = true;
  start.rows = 33;
  start.columns = 111;
  start.process_json = shell_process_json(
      "trap 'stty size; exit 5' WINCH; stty size; while :; do sleep 0.1; done", true);
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->out() == "33 111\r\n"; })) << client->out();
  ProcessCommand command;
  command.kind = ProcessCommand::Kind::kResize;
  command.rows = 20;
  command.columns = 60;
  client->send(command);
  ASSERT_TRUE(wait([&] { return client->done(); })) << client->out();
  expect_exit(*client, 5);
  EXPECT_EQ(client->out(), "33 111\r\n20 60\r\n");
}

TEST_F(ReadyProcessServiceTest, ControlCharactersOfATerminalBecomeSignals) {
  ProcessStart start;
  start.kind = ProcessStart::Kind::kGuest;
  start.tty = true;
  start.use_stdin = true;
  start.process_json = shell_process_json(
      "trap 'echo int; exit 8' INT; echo ready; while :; do sleep 0.1; done", true);
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->out().find("ready") != std::string::npos; }));
  client->feed("\x03", false);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 8);
}

TEST_F(ReadyProcessServiceTest, TerminalThatNobodyHasOpenForAWhileGoesOn) {
  ProcessStart start;
  start.kind = ProcessStart::Kind::kGuest;
  start.tty = true;
  start.use_stdin = true;
  start.process_json = shell_process_json(
      "t=$(tty); echo one; exec </dev/null >/dev/null 2>&1; sleep 0.3; exec >$t; echo two; exit 6",
      true);
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 6);
  EXPECT_EQ(client->out(), "one\r\ntwo\r\n");
}

TEST_F(ReadyProcessServiceTest, EndOfStdinEndsAReader) {
  const auto client = open(guest_shell("cat; exit 3", true));
  client->feed("hello");
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 3);
  EXPECT_EQ(client->out(), "hello");
}

TEST_F(ReadyProcessServiceTest, CloseStdinCommandEndsAReader) {
  const auto client = open(guest_shell("cat; exit 3", true));
  client->feed("hello", false);
  ASSERT_TRUE(wait([&] { return client->out() == "hello"; }));
  ProcessCommand command;
  command.kind = ProcessCommand::Kind::kCloseStdin;
  client->send(command);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 3);
}

TEST_F(ReadyProcessServiceTest, DetachedProcessIsReportedStartedAndGoesOn) {
  ProcessStart start = guest_shell("echo x > " + (directory_ / "made").string());
  start.detach = true;
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->started(); }));
  EXPECT_TRUE(wait([&] {
    struct stat info {};
    return ::stat((directory_ / "made").c_str(), &info) == 0 && info.st_size == 2;
  }));
  EXPECT_FALSE(client->last().has_value());
}

TEST_F(ReadyProcessServiceTest, DefaultSignalsAndNoDescriptorsAreInherited) {
  const auto client = run("grep -E 'SigBlk|SigIgn' /proc/self/status; ls /proc/self/fd | wc -l");
  expect_exit(*client, 0);
  // ls itself has the folder open, and its stdout is the pipe to wc.
  EXPECT_EQ(client->out(), "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n4\n");
}

TEST_F(ReadyProcessServiceTest, ProcessRunsAsTheUserItWasGiven) {
  FCVM_REQUIRE(root);
  ProcessStart start = guest_shell("");
  start.process_json =
      R"({"args":["/bin/sh","-c","id -u; id -g; id -G; echo ok > /dev/stderr"],"cwd":"/",)"
      R"("env":["PATH=/bin:/usr/bin"],"user":{"uid":12345,"gid":2345,"additionalGids":[77]}})";
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 0);
  EXPECT_EQ(client->out(), "12345\n2345\n2345 77\n");
  EXPECT_EQ(client->err(), "ok\n");
}

TEST_F(ReadyProcessServiceTest, MalformedMessageCostsOnlyItsStream) {
  const auto good = open(guest_shell("sleep 0.3; exit 7"));
  wire::MessageStream bad(host_->open(wire::kProcessService, "bad"));
  std::optional<wire::ResetReason> reset;
  bad.set_handler({nullptr, nullptr, [&](wire::ResetReason reason) { reset = reason; }});
  bad.send("{\"kind\":17");
  ASSERT_TRUE(wait([&] { return reset.has_value(); }));
  EXPECT_EQ(*reset, wire::ResetReason::kProtocol);
  ASSERT_TRUE(wait([&] { return good->done(); }));
  expect_exit(*good, 7);
}

TEST_F(ReadyProcessServiceTest, MalformedCommandLeavesTheProcessRunning) {
  const auto client = open(guest_shell("sleep 0.5; touch " + (directory_ / "went-on").string()));
  ASSERT_TRUE(wait([&] { return client->started(); }));
  client->send_raw("nonsense");
  ASSERT_TRUE(wait([&] { return client->control_reset().has_value(); }));
  EXPECT_TRUE(wait([&] { return ::access((directory_ / "went-on").c_str(), F_OK) == 0; }));
}

TEST_F(ReadyProcessServiceTest, MalformedProcessObjectIsARefusal) {
  ProcessStart start = guest_shell("");
  start.process_json = R"({"args":[]})";
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_failed(*client, 125);
}

TEST_F(ReadyProcessServiceTest, ExecWithoutARunningContainerIsARefusal) {
  ProcessStart start = guest_shell("exit 0");
  start.kind = ProcessStart::Kind::kExec;
  const auto client = open(start);
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_failed(*client, 125);
}

TEST_F(ReadyProcessServiceTest, MoreProcessesThanAllowedAreRefused) {
  std::vector<std::unique_ptr<wire::MessageStream>> waiting;
  std::size_t refused = 0;
  ProcessStart start = guest_shell("exit 0");
  for (std::size_t i = 0; i < ProcessService::kMaxProcesses + 5; ++i) {
    auto stream = std::make_unique<wire::MessageStream>(
        host_->open(wire::kProcessService, std::to_string(i)));
    stream->set_handler({nullptr, nullptr, [&](wire::ResetReason) { ++refused; }});
    // Its stdio stream never comes.
    stream->send(wire::to_json(start));
    waiting.push_back(std::move(stream));
  }
  EXPECT_TRUE(wait([&] { return refused == 5; }));
  waiting.clear();
  // Those that gave up make room.
  EXPECT_FALSE(wait([] { return false; }, milliseconds(100)));
  expect_exit(*run("exit 1"), 1);
}

TEST_F(ReadyProcessServiceTest, LinkThatVanishesLeavesProcessesToThemselves) {
  const std::string mark = directory_ / "survived";
  const auto client = open(guest_shell("head -c 3000000 /dev/zero; echo more; touch " + mark));
  client->stall_stdout();
  ASSERT_TRUE(wait([&] { return client->started() && !client->out().empty(); }));
  host_.reset();
  EXPECT_TRUE(wait([&] { return ::access(mark.c_str(), F_OK) == 0; }));
}

TEST_F(ProcessServiceTest, StartWaitsForTheGuestToBeReady) {
  const auto client = open(guest_shell("exit 5"));
  EXPECT_FALSE(wait([&] { return client->started() || client->done(); }, milliseconds(200)));
  service_.set_ready({"c1", directory_ / "bundle", {}});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 5);
}

TEST_F(ProcessServiceTest, WhatWaitsIsRefusedWhenTheGuestStops) {
  const auto client = open(guest_shell("exit 5"));
  EXPECT_FALSE(wait([&] { return client->done(); }, milliseconds(100)));
  service_.set_stopping();
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_failed(*client, 125);
}

TEST_F(ProcessServiceTest, SignalSentBeforeTheStartIsDelivered) {
  const auto client = open(guest_shell("exec sleep 30"));
  ProcessCommand command;
  command.kind = ProcessCommand::Kind::kSignal;
  command.signal = SIGTERM;
  client->send(command);
  EXPECT_FALSE(wait([&] { return client->done(); }, milliseconds(100)));
  service_.set_ready({"c1", directory_ / "bundle", {}});
  ASSERT_TRUE(wait([&] { return client->done(); }));
  expect_exit(*client, 0, SIGTERM);
}

}  // namespace
}  // namespace fc_agent
