#include <gtest/gtest.h>

#include <csignal>

#include "vm/clock.h"
#include "vm/monitor/monitor_test_support.h"

namespace vm {
namespace {

using Op = wire::ControlRequest::Op;

class MonitorPauseTest : public MonitorTest {
 protected:
  MonitorReply ask(MonitorRequest::Op op, int signal = 0, bool even_paused = false) {
    TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
    MonitorRequest request;
    request.op = op;
    request.signal = signal;
    request.even_paused = even_paused;
    other.ask(request);
    EXPECT_TRUE(until([&] { return other.reply.has_value(); }));
    return other.reply.value_or(MonitorReply{});
  }
  bool machine_paused() const { return hypervisor_->machine()->operations().back() == "pause"; }
};

TEST_F(MonitorPauseTest, PausedVmStandsStillAndGoesOnWithTheRightTime) {
  begin();
  run_container();
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  EXPECT_TRUE(machine_paused());
  EXPECT_EQ(stored().status, VmStatus::kPaused);
  const std::int64_t before = wall_clock_ns();
  EXPECT_TRUE(ask(MonitorRequest::Op::kUnpause).ok);
  EXPECT_FALSE(machine_paused());
  EXPECT_EQ(stored().status, VmStatus::kRunning);
  ASSERT_FALSE(agent_->requests.empty());
  EXPECT_EQ(agent_->requests[0].op, Op::kSetClock);
  EXPECT_GE(agent_->requests[0].wall_clock_ns, before);
}

TEST_F(MonitorPauseTest, WhatDoesNotFitTheStateIsRefused) {
  begin();
  run_container();
  EXPECT_EQ(ask(MonitorRequest::Op::kUnpause).error, "it is running, not paused");
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  EXPECT_EQ(ask(MonitorRequest::Op::kPause).error, "it is paused already");
  EXPECT_FALSE(ask(MonitorRequest::Op::kStop).ok);
  EXPECT_NE(refused_exec().find("is paused, not running"), std::string::npos);
}

TEST_F(MonitorPauseTest, SignalsWaitForThePauseToEnd) {
  begin();
  run_container();
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  EXPECT_TRUE(ask(MonitorRequest::Op::kKill, SIGUSR1).ok);
  EXPECT_TRUE(machine_paused());
  EXPECT_TRUE(agent_->requests.empty());
  EXPECT_TRUE(ask(MonitorRequest::Op::kUnpause).ok);
  ASSERT_TRUE(until([this] { return agent_->requests.size() == 2; }));
  EXPECT_EQ(agent_->requests[1].op, Op::kSignalContainer);
  EXPECT_EQ(agent_->requests[1].signal, SIGUSR1);
}

TEST_F(MonitorPauseTest, KillEndsThePause) {
  begin();
  run_container();
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  EXPECT_TRUE(ask(MonitorRequest::Op::kKill, SIGKILL).ok);
  ASSERT_TRUE(until([this] { return agent_->requests.size() == 2; }));
  EXPECT_EQ(agent_->requests[1].signal, SIGKILL);
  EXPECT_EQ(stored().status, VmStatus::kRunning);
}

TEST_F(MonitorPauseTest, ForcedStopEndsThePause) {
  begin();
  auto& process = run_container();
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  MonitorRequest stop;
  stop.op = MonitorRequest::Op::kStop;
  stop.even_paused = true;
  other.ask(stop);
  ASSERT_TRUE(until([this] { return agent_->requests.size() == 2; }));
  EXPECT_EQ(agent_->requests[1].signal, SIGTERM);
  process.exit(0, SIGTERM);
  power_off();
  ASSERT_TRUE(until([&] { return other.reply.has_value(); }));
  EXPECT_EQ(other.reply->exit_code, 143);
}

TEST_F(MonitorPauseTest, StatsOfAPausedVmAreThoseLastSeen) {
  begin();
  agent_->on_control = [](const wire::ControlRequest& request) {
    wire::ControlReply reply;
    reply.id = request.id;
    reply.container_cpu_us = 1234;
    reply.container_processes = 3;
    return reply;
  };
  run_container();
  hypervisor_->machine()->stats_answer.vmm_time = std::chrono::microseconds(77);
  const auto expect_same = [&] {
    const MonitorReply reply = ask(MonitorRequest::Op::kStats);
    ASSERT_TRUE(reply.stats.has_value()) << reply.error;
    EXPECT_EQ(reply.stats->cpu_us, 1234U);
    EXPECT_EQ(reply.stats->processes, 3U);
    EXPECT_EQ(reply.stats->vmm_cpu_us, 77U);
  };
  expect_same();
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  const std::size_t asked = agent_->requests.size();
  expect_same();
  EXPECT_EQ(agent_->requests.size(), asked);
}

TEST_F(MonitorPauseTest, VmmKilledWhilePausedIsAKilledContainer) {
  begin();
  run_container();
  EXPECT_TRUE(ask(MonitorRequest::Op::kPause).ok);
  hypervisor_->machine()->end(hypervisor::MachineExit::Reason::kVmmFailed, "the VMM crashed");
  ASSERT_TRUE(until([this] { return client_->ended(); }));
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

}  // namespace
}  // namespace vm
