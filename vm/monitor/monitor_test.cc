#include <csignal>

#include "vm/monitor/monitor_test_support.h"

namespace vm {
namespace {

TEST_F(MonitorTest, OutputAndExitStatusReachTheClientAndTheLog) {
  begin();
  auto& process = run_container();
  EXPECT_EQ(stored().status, VmStatus::kRunning);
  process.print("out\n");
  process.complain("err\n");
  process.exit(37);
  power_off();
  ASSERT_TRUE(
      until([this] { return client_->ended() && client_->out_ended && client_->err_ended; }));
  EXPECT_EQ(client_->out, "out\n");
  EXPECT_EQ(client_->err, "err\n");
  EXPECT_EQ(client_->events.back().kind, wire::ProcessEvent::Kind::kExited);
  EXPECT_EQ(client_->events.back().code, 37);
  const VmRecord after = stored();
  EXPECT_EQ(after.status, VmStatus::kExited);
  EXPECT_EQ(after.exit_code, 37);
  EXPECT_EQ(after.monitor.pid, 0);
  EXPECT_NE(log().find(" stdout F out\n"), std::string::npos) << log();
  EXPECT_NE(log().find(" stderr F err\n"), std::string::npos) << log();
  EXPECT_FALSE(base::path_exists(store_.paths(record_.id).run));
  client_->leave();
  EXPECT_TRUE(until([this] { return monitor_->done(); }));
}

TEST_F(MonitorTest, SignalDeathIsReportedAs128PlusSignal) {
  begin();
  run_container().exit(0, SIGTERM);
  power_off();
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().code, 143);
  EXPECT_EQ(stored().exit_code, 143);
}

TEST_F(MonitorTest, AutoRemovedVmLeavesNothing) {
  record_.auto_remove = true;
  begin();
  run_container().exit(0);
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(store_.read(record_.id).error().errnum(), ENOENT);
  EXPECT_FALSE(base::path_exists(store_.paths(record_.id).disks));
  EXPECT_FALSE(base::path_exists(store_.paths(record_.id).run));
}

TEST_F(MonitorTest, AutoRemovedVmWithADiskOfTheUsersIsShutDownInOrder) {
  record_.auto_remove = true;
  user_disk_ = true;
  begin();
  EXPECT_TRUE(hypervisor_->machine()->config().disks[0].discard_flushes);
  EXPECT_FALSE(hypervisor_->machine()->config().disks[1].discard_flushes);
  run_container().exit(0);
  power_off();
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(store_.read(record_.id).error().errnum(), ENOENT);
}

TEST_F(MonitorTest, ClientThatStallsSlowsTheContainerAndLosesNothing) {
  begin();
  auto& process = run_container();
  const std::size_t sent = fill_output(process);
  EXPECT_LT(sent, 2U << 20) << "a client that does not read must not make the monitor hold more";
  process.complain("still heard\n");
  EXPECT_TRUE(until([this] { return client_->err == "still heard\n"; }));
  client_->reading = true;
  client_->stdio->consume(client_->unread);
  EXPECT_TRUE(until([&] { return client_->out.size() == sent; }));
}

TEST_F(MonitorTest, VmGoesOnWhenItsClientIsGone) {
  begin();
  auto& process = run_container();
  client_->leave();
  client_.reset();
  process.print("alone\n");
  ASSERT_TRUE(until([this] { return log().find("alone") != std::string::npos; }));
  EXPECT_EQ(stored().status, VmStatus::kRunning);
  process.exit(3);
  power_off();
  EXPECT_TRUE(until([this] { return monitor_->done(); }));
  EXPECT_EQ(stored().exit_code, 3);
}

TEST_F(MonitorTest, InputReachesTheContainerWithItsEnd) {
  record_.open_stdin = true;
  auto start = container_start();
  start.use_stdin = true;
  begin(start);
  auto& process = run_container();
  EXPECT_TRUE(process.start.use_stdin);
  client_->stdio->write("typed");
  client_->stdio->shutdown_write();
  ASSERT_TRUE(until([&] { return process.input_ended; }));
  EXPECT_EQ(process.input, "typed");
}

TEST_F(MonitorTest, InputOfAClientThatVanishedStaysOpen) {
  record_.open_stdin = true;
  auto start = container_start();
  start.use_stdin = true;
  begin(start);
  auto& process = run_container();
  client_->stdio->write("typed");
  ASSERT_TRUE(until([&] { return process.input == "typed"; }));
  client_->leave();
  EXPECT_FALSE(loop_.run_until([&] { return process.input_ended; }, milliseconds(200)));
}

TEST_F(MonitorTest, BootFailureIsToldWithItsStepAndReason) {
  begin();
  ASSERT_TRUE(until([this] { return agent_->plan() != nullptr; }));
  wire::BootEvent event;
  event.kind = wire::BootEvent::Kind::kFailed;
  event.step = "mounting the image";
  event.message =
      "no such\n\xc2\x9b"
      "device";
  agent_->report(event);
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().kind, wire::ProcessEvent::Kind::kFailed);
  EXPECT_EQ(client_->events.back().code, 125);
  EXPECT_NE(client_->events.back().message.find("mounting the image: no such  device"),
            std::string::npos);
  EXPECT_EQ(stored().exit_code, 125);
}

TEST_F(MonitorTest, ProgramThatIsMissingInTheImageIs127) {
  begin();
  ASSERT_TRUE(until([this] { return agent_->plan() != nullptr; }));
  agent_->ready();
  ASSERT_TRUE(until([this] { return !agent_->processes.empty(); }));
  agent_->processes[0]->fail(127, "executable file not found");
  power_off();
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().kind, wire::ProcessEvent::Kind::kFailed);
  EXPECT_EQ(client_->events.back().code, 127);
  EXPECT_EQ(stored().exit_code, 127);
}

TEST_F(MonitorTest, VmmThatCannotBeStartedIsToldAndRecorded) {
  start_error_ = "no kernel";
  begin();
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().code, 125);
  EXPECT_NE(client_->events.back().message.find("no kernel"), std::string::npos);
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

TEST_F(MonitorTest, VmmThatDiesEndsTheVmWithAReason) {
  begin();
  run_container();
  hypervisor_->machine()->end(MachineExit::Reason::kVmmFailed, "the VMM crashed");
  ASSERT_TRUE(until([this] { return client_->ended() && client_->out_ended; }));
  EXPECT_EQ(client_->events.back().code, 125);
  EXPECT_NE(stored().error.find("the VMM crashed"), std::string::npos);
}

TEST_F(MonitorTest, GuestThatTalksNonsenseIsEnded) {
  begin();
  auto& process = run_container();
  process.control->send("{\"event\":");
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().code, 125);
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

TEST_F(MonitorTest, GuestThatBreaksTheLinkIsEnded) {
  begin();
  run_container();
  agent_->vanish();
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().code, 125);
  EXPECT_NE(stored().error.find("link broke"), std::string::npos) << stored().error;
}

TEST_F(MonitorTest, ProgressFloodOfTheGuestIsBounded) {
  begin();
  ASSERT_TRUE(until([this] { return agent_->plan() != nullptr; }));
  for (int i = 0; i < 500; ++i) {
    wire::BootEvent event;
    event.step = base::cat("step ", i);
    agent_->report(event);
    event.step = base::cat("\x1b[31mstep ", i);
    agent_->report(event);
  }
  agent_->ready();
  ASSERT_TRUE(until([this] { return !agent_->processes.empty(); }));
  agent_->processes[0]->started();
  ASSERT_TRUE(until([this] { return !client_->events.empty(); }));
  EXPECT_LT(stored().timings_us.size(), 80U);
}

TEST_F(MonitorTest, StartedAfterTheExitChangesNothing) {
  begin();
  auto& process = run_container();
  process.exit(4);
  ASSERT_TRUE(until([this] { return powered_off(); }));
  process.started();
  hypervisor_->machine()->end(MachineExit::Reason::kGuestShutdown);
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(stored().status, VmStatus::kExited);
  EXPECT_EQ(stored().exit_code, 4);
}

TEST_F(MonitorTest, StopEndsAContainerWhoseClientDoesNotRead) {
  begin();
  auto& process = run_container();
  fill_output(process);
  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  MonitorRequest stop;
  stop.op = MonitorRequest::Op::kStop;
  other.ask(stop);
  // The guest gets its credit back, so that the container can end its output.
  EXPECT_TRUE(until([&] { return process.stdio->writable() > 0; }));
  process.exit(0, SIGTERM);
  power_off();
  ASSERT_TRUE(until([&] { return other.reply.has_value(); }));
  EXPECT_EQ(other.reply->exit_code, 143);
}

TEST_F(MonitorTest, MoreImpatientStopWins) {
  begin();
  run_container();
  MonitorRequest stop;
  stop.op = MonitorRequest::Op::kStop;
  stop.timeout_s = 600;
  client_->ask(stop);
  ASSERT_TRUE(until([this] { return agent_->requests.size() == 1; }));
  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  stop.timeout_s = 0;
  other.ask(stop);
  ASSERT_TRUE(until([this] { return agent_->requests.size() == 2; }));
  EXPECT_EQ(agent_->requests[1].signal, SIGKILL);
}

TEST_F(MonitorTest, StopSendsTheStopSignalAndAnswersWhenTheVmHasEnded) {
  begin();
  auto& process = run_container();
  MonitorRequest stop;
  stop.op = MonitorRequest::Op::kStop;
  client_->ask(stop);
  ASSERT_TRUE(until([this] { return !agent_->requests.empty(); }));
  EXPECT_EQ(agent_->requests[0].op, wire::ControlRequest::Op::kSignalContainer);
  EXPECT_EQ(agent_->requests[0].signal, SIGTERM);
  process.exit(0, SIGTERM);
  EXPECT_FALSE(client_->reply);
  power_off();
  ASSERT_TRUE(until([this] { return client_->reply.has_value(); }));
  EXPECT_EQ(client_->reply->exit_code, 143);
}

TEST_F(MonitorTest, StopKillsWhatIgnoresTheSignalAfterItsTimeout) {
  begin();
  run_container();
  MonitorRequest stop;
  stop.op = MonitorRequest::Op::kStop;
  stop.timeout_s = 1;
  client_->ask(stop);
  ASSERT_TRUE(until([this] { return agent_->requests.size() == 2; }));
  EXPECT_EQ(agent_->requests[1].signal, SIGKILL);
}

TEST_F(MonitorTest, SignalDuringBootEndsTheVm) {
  begin();
  ASSERT_TRUE(until([this] { return agent_->plan() != nullptr; }));
  wire::ProcessCommand command;
  command.signal = SIGINT;
  client_->command(command);
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(client_->events.back().code, 130);
}

TEST_F(MonitorTest, ExecRunsBesideTheContainer) {
  begin();
  auto& process = run_container();
  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  wire::ProcessStart start;
  start.process_json = "{}";
  other.start(start);
  ASSERT_TRUE(until([this] { return agent_->processes.size() == 2; }));
  auto& exec = *agent_->processes[1];
  exec.started();
  exec.print("from exec");
  exec.exit(5);
  ASSERT_TRUE(until([&] { return other.ended() && other.out_ended; }));
  EXPECT_EQ(other.out, "from exec");
  EXPECT_EQ(other.events.back().code, 5);
  EXPECT_EQ(client_->out, "");
  process.exit(0);
}

TEST_F(MonitorTest, ExecInAVmThatStillBootsIsRefused) {
  begin();
  EXPECT_NE(refused_exec().find("not running"), std::string::npos);
}

TEST_F(MonitorTest, ExecAfterTheFirstOutputAndBeforeTheNewsOfTheStartWaitsForIt) {
  begin();
  ASSERT_TRUE(until([this] { return agent_->plan() != nullptr; }));
  agent_->ready();
  ASSERT_TRUE(until([this] { return !agent_->processes.empty(); }));
  agent_->processes[0]->print("up\n");
  ASSERT_TRUE(until([this] { return client_->out == "up\n"; }));
  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  wire::ProcessStart start;
  start.process_json = "{}";
  other.start(start);
  TestClient third(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  MonitorRequest kill;
  kill.op = MonitorRequest::Op::kKill;
  kill.signal = SIGTERM;
  third.ask(kill);
  EXPECT_FALSE(loop_.run_until([&] { return other.ended() || third.reply; }, milliseconds(100)));
  agent_->processes[0]->started();
  ASSERT_TRUE(until([this] { return agent_->processes.size() == 2; }));
  ASSERT_TRUE(until([&] { return third.reply.has_value(); }));
  EXPECT_TRUE(third.reply->ok);
  agent_->processes[1]->started();
  agent_->processes[1]->exit(5);
  ASSERT_TRUE(until([&] { return other.ended(); }));
  EXPECT_EQ(other.events.back().code, 5);
  agent_->processes[0]->exit(0);
}

TEST_F(MonitorTest, AttachedLaterSeesWhatComesAfter) {
  begin();
  auto& process = run_container();
  process.print("before\n");
  ASSERT_TRUE(until([this] { return client_->out == "before\n"; }));
  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  wire::ProcessStart start;
  start.kind = wire::ProcessStart::Kind::kAttach;
  other.start(start);
  ASSERT_TRUE(until([&] { return !other.events.empty(); }));
  process.print("after\n");
  ASSERT_TRUE(until([&] { return other.out == "after\n"; }));
  EXPECT_TRUE(until([this] { return client_->out == "before\nafter\n"; }));
}

TEST_F(MonitorTest, SecondMonitorOfOneVmIsRefused) {
  begin();
  Monitor second(loop_, store_, make_hypervisor_, {record_.id, {}, 0});
  // In the first one's hands is the record's lock; waiting for it ends in an error.
  EXPECT_THROW(second.begin(milliseconds(50)), base::Error);
}

}  // namespace
}  // namespace vm
