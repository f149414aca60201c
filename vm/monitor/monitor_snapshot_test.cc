// Saving a VM under its container, and beginning where another was saved.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "tests/support/requirements.h"
#include "vm/guest_paths.h"
#include "vm/monitor/monitor_test_support.h"
#include "vm/snapshot/saved_files.h"
#include "vm/snapshot/snapshot.h"

namespace vm {
namespace {

using Op = wire::ControlRequest::Op;

class MonitorSnapshotTest : public MonitorTest {
 protected:
  MonitorReply save() {
    TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
    MonitorRequest request;
    request.op = MonitorRequest::Op::kSave;
    request.directory = target_.path();
    other.ask(request);
    EXPECT_TRUE(until([&] { return other.reply.has_value(); }));
    return other.reply.value_or(MonitorReply{});
  }
  std::vector<Op> asked() const {
    std::vector<Op> ops;
    for (const auto& request : agent_->requests) ops.push_back(request.op);
    return ops;
  }
  const std::vector<std::string>& operations() const {
    return hypervisor_->machine()->operations();
  }
  // A plan as of a clone, of a snapshot that is there as far as the monitor looks.
  void prepare_clone() {
    prepare();
    for (const char* name : {kSnapshotRecordFile, kSnapshotStateFile, kSnapshotMemoryFile}) {
      base::write_file(target_ / name, "{}");
    }
    const VmPaths paths = store_.paths(record_.id);
    LaunchPlan plan = parse_launch_plan(base::read_file(paths.launch_plan));
    plan.boot.host_name = "clone";
    plan.boot.machine_id = std::string(32, 'b');
    plan.boot.files = {{std::string(kGuestHostsFile), "127.0.0.1 clone\n", 0644},
                       {"/etc/other", "x", 0644}};
    plan.restore = RestorePlan{target_.path(), 7, stamps_of_saved_machine(target_.path())};
    base::write_file(paths.launch_plan, to_json(plan));
  }
  void begin_clone() {
    prepare_clone();
    launch();
    ASSERT_NE(hypervisor_->machine(), nullptr) << stored().error;
    agent_ = std::make_unique<testing::FakeAgent>(loop_, hypervisor_->machine()->take_guest_end());
  }

  tests::TempDir target_;
};

TEST_F(MonitorSnapshotTest, VmIsSavedBetweenItsGuestsRestAndThawAndGoesOn) {
  begin();
  auto& container = run_container();
  container.print("before ");
  base::write_file(store_.paths(record_.id).root_disk, "disk");
  const MonitorReply reply = save();
  EXPECT_TRUE(reply.ok) << reply.error;
  EXPECT_EQ(reply.link_epoch, 1U);
  EXPECT_TRUE(reply.timings_us.contains("pause"));
  EXPECT_EQ(operations(), (std::vector<std::string>{"pause", "save", "resume"}));
  EXPECT_EQ(asked(), (std::vector<Op>{Op::kQuiesce, Op::kThaw}));
  EXPECT_GT(agent_->requests[1].wall_clock_ns, 0);
  EXPECT_EQ(base::read_file(target_ / kSnapshotDiskFile), "disk");
  EXPECT_EQ(std::filesystem::file_size(target_ / kSnapshotMemoryFile), 64U << 20);
  EXPECT_NE(base::read_file(target_ / kSnapshotStateFile), "");
  EXPECT_EQ(stored().status, VmStatus::kRunning);
  container.print("after");
  EXPECT_TRUE(until([&] { return client_->out == "before after"; })) << client_->out;
}

TEST_F(MonitorSnapshotTest, GuestThatCannotBeQuiescedIsLeftAlone) {
  begin();
  run_container();
  agent_->on_control = [](const wire::ControlRequest& request) {
    wire::ControlReply reply;
    reply.ok = request.op != Op::kQuiesce;
    if (!reply.ok) reply.error = "a process does not stop";
    return reply;
  };
  const MonitorReply reply = save();
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.error.find("a process does not stop"), std::string::npos);
  EXPECT_TRUE(operations().empty());
  EXPECT_EQ(asked(), (std::vector<Op>{Op::kQuiesce}));
}

TEST_F(MonitorSnapshotTest, WhateverFailsTheVmGoesOn) {
  begin();
  auto& container = run_container();
  // A file that is there already, as on a second try into the same folder.
  for (const char* there : {kSnapshotStateFile, kSnapshotDiskFile, kSnapshotMemoryFile}) {
    base::write_file(target_ / there, "");
    const std::size_t done_before = operations().size();
    const std::size_t asked_before = asked().size();
    const MonitorReply reply = save();
    EXPECT_FALSE(reply.ok) << there;
    EXPECT_NE(reply.error.find(there), std::string::npos) << reply.error;
    EXPECT_GT(operations().size(), done_before);
    EXPECT_EQ(operations().back(), "resume");
    EXPECT_EQ(asked().size(), asked_before + 2);
    EXPECT_EQ(asked().back(), Op::kThaw);
    for (const char* file : {kSnapshotStateFile, kSnapshotDiskFile, kSnapshotMemoryFile}) {
      std::filesystem::remove(target_ / file);
    }
  }
  hypervisor_->machine()->answer = hypervisor::fake::FakeMachine::Answer::kFail;
  EXPECT_FALSE(save().ok);
  hypervisor_->machine()->answer = hypervisor::fake::FakeMachine::Answer::kSucceed;
  EXPECT_TRUE(save().ok);
  container.print("still here");
  EXPECT_TRUE(until([&] { return client_->out == "still here"; }));
}

TEST_F(MonitorSnapshotTest, VmThatDoesNotGoOnAtOnceIsAskedAgain) {
  begin();
  run_container();
  hypervisor_->machine()->failures["resume"] = 2;
  const MonitorReply reply = save();
  EXPECT_TRUE(reply.ok) << reply.error;
  EXPECT_EQ(operations(),
            (std::vector<std::string>{"pause", "save", "resume", "resume", "resume"}));
  EXPECT_EQ(asked(), (std::vector<Op>{Op::kQuiesce, Op::kThaw}));
  EXPECT_EQ(stored().status, VmStatus::kRunning);
}

TEST_F(MonitorSnapshotTest, VmThatDoesNotGoOnIsPausedAndItsContainerThawedByUnpausing) {
  go_on_limit_ = milliseconds(0);
  begin();
  run_container();
  hypervisor_->machine()->failures["resume"] = 1;
  const MonitorReply reply = save();
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.error.find("does not go on"), std::string::npos) << reply.error;
  EXPECT_EQ(stored().status, VmStatus::kPaused);
  // Also without a word from us the guest finds what thaws its container.
  ASSERT_TRUE(until([&] { return asked().size() == 2; }));
  EXPECT_EQ(asked().back(), Op::kThaw);

  TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  MonitorRequest unpause;
  unpause.op = MonitorRequest::Op::kUnpause;
  other.ask(unpause);
  ASSERT_TRUE(until([&] { return other.reply.has_value(); }));
  EXPECT_TRUE(other.reply->ok) << other.reply->error;
  EXPECT_EQ(asked(), (std::vector<Op>{Op::kQuiesce, Op::kThaw, Op::kThaw}));
  EXPECT_EQ(stored().status, VmStatus::kRunning);
  for (const char* file : {kSnapshotStateFile, kSnapshotDiskFile, kSnapshotMemoryFile}) {
    std::filesystem::remove(target_ / file);
  }
  EXPECT_TRUE(save().ok);
}

TEST_F(MonitorSnapshotTest, ContainerThatEndsMeanwhileIsNotSaved) {
  begin();
  auto& container = run_container();
  agent_->on_control = [&](const wire::ControlRequest& request) {
    wire::ControlReply reply;
    if (request.op == Op::kQuiesce) container.exit(0);
    if (request.op == Op::kThaw) {
      reply.ok = false;
      reply.error = "the container is not running";
    }
    return reply;
  };
  const MonitorReply reply = save();
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.error.find("has ended"), std::string::npos) << reply.error;
  EXPECT_FALSE(std::filesystem::exists(target_ / kSnapshotMemoryFile));
}

TEST_F(MonitorSnapshotTest, RequestsThatComeMeanwhileWaitForTheEnd) {
  begin();
  run_container();
  TestClient saver(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  MonitorRequest request;
  request.op = MonitorRequest::Op::kSave;
  request.directory = target_.path();
  TestClient stopper(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  TestClient execer(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
  agent_->on_control = [&](const wire::ControlRequest& control) {
    if (control.op == Op::kQuiesce) {
      MonitorRequest stop;
      stop.op = MonitorRequest::Op::kStop;
      stopper.ask(stop);
      wire::ProcessStart start;
      start.process_json = "{}";
      execer.start(start);
    }
    wire::ControlReply reply;
    return reply;
  };
  saver.ask(request);
  ASSERT_TRUE(until([&] { return saver.reply.has_value(); }));
  EXPECT_TRUE(saver.reply->ok) << saver.reply->error;
  ASSERT_TRUE(until([&] { return asked().size() == 3; }));
  EXPECT_EQ(asked(), (std::vector<Op>{Op::kQuiesce, Op::kThaw, Op::kSignalContainer}));
  EXPECT_TRUE(until([&] { return agent_->processes.size() == 2; }));
}

TEST_F(MonitorSnapshotTest, VmWithADiskOfTheUsersIsRefused) {
  user_disk_ = true;
  begin();
  run_container();
  const MonitorReply reply = save();
  EXPECT_FALSE(reply.ok);
  EXPECT_NE(reply.error.find("two writers"), std::string::npos);
  EXPECT_TRUE(asked().empty());
}

TEST_F(MonitorSnapshotTest, CloneTakesItsIdentityBeforeItsContainerGoesOn) {
  begin_clone();
  const hypervisor::MachineConfig& config = hypervisor_->machine()->config();
  ASSERT_TRUE(config.restore.has_value());
  EXPECT_EQ(config.restore->memory, (target_ / kSnapshotMemoryFile).string());
  EXPECT_EQ(config.link_epoch, 7U);
  ASSERT_TRUE(until([this] { return agent_->processes.size() == 1; }));
  EXPECT_EQ(agent_->plan(), nullptr) << "it is booted already";
  ASSERT_EQ(asked(), (std::vector<Op>{Op::kIdentify}));
  const wire::GuestIdentity& identity = *agent_->requests[0].identity;
  EXPECT_EQ(identity.host_name, "clone");
  EXPECT_EQ(identity.machine_id, std::string(32, 'b'));
  EXPECT_GE(identity.entropy.size(), 32U);
  ASSERT_EQ(identity.files.size(), 1U);
  EXPECT_EQ(identity.files[0].content, "127.0.0.1 clone\n");
  EXPECT_EQ(agent_->processes[0]->start.kind, wire::ProcessStart::Kind::kAttach);
  EXPECT_TRUE(client_->events.empty());

  agent_->processes[0]->started();
  ASSERT_TRUE(until([this] { return !client_->events.empty(); }));
  EXPECT_EQ(asked(), (std::vector<Op>{Op::kIdentify, Op::kThaw}));
  EXPECT_GT(agent_->requests[1].wall_clock_ns, 0);
  EXPECT_EQ(stored().status, VmStatus::kRunning);
  EXPECT_TRUE(stored().runs_on_snapshot);
  EXPECT_EQ(operations(), (std::vector<std::string>{"resume"}));
  EXPECT_FALSE(save().ok) << "its memory lies in two places";
}

TEST_F(MonitorSnapshotTest, CloneThatCannotTakeItsIdentityNeverRuns) {
  begin_clone();
  agent_->on_control = [](const wire::ControlRequest& request) {
    wire::ControlReply reply;
    reply.ok = request.op != Op::kIdentify;
    reply.error = "no entropy";
    return reply;
  };
  expect_told("no entropy");
  EXPECT_TRUE(agent_->processes.empty());
  for (const Op op : asked()) EXPECT_NE(op, Op::kThaw);
}

TEST_F(MonitorSnapshotTest, ThatAMemoryIsLoadedIsRecordedBeforeItIs) {
  const auto make = make_hypervisor_;
  bool recorded = false;
  make_hypervisor_ = [&, this](const std::string& name) {
    recorded = stored().restore_begun;
    return make(name);
  };
  prepare_clone();
  launch();
  ASSERT_NE(hypervisor_->machine(), nullptr) << stored().error;
  EXPECT_TRUE(recorded);
}

TEST_F(MonitorSnapshotTest, MemoryIsNotLoadedWhereThatCannotBeRecorded) {
  FCVM_REQUIRE_THAT(build, tests::missing_fault_points());
  prepare_clone();
  ::setenv("FCVM_FAULT", "monitor.restoring=ENOSPC", 1);
  launch();
  ::unsetenv("FCVM_FAULT");
  expect_told("No space left");
  EXPECT_EQ(hypervisor_, nullptr) << "nothing was started";
}

TEST_F(MonitorSnapshotTest, AnotherSnapshotOfTheSameTagIsNotLoaded) {
  prepare_clone();
  base::replace_file(target_ / kSnapshotMemoryFile, "another");
  launch();
  expect_told("is not the one");
  EXPECT_EQ(hypervisor_, nullptr) << "nothing was started";
}

TEST_F(MonitorSnapshotTest, CloneWhoseFirstLifeWasCutShortBootsFromItsDisk) {
  record_.restore_begun = true;  // and no container ever ran
  record_.status = VmStatus::kExited;
  prepare_clone();
  launch();
  ASSERT_NE(hypervisor_->machine(), nullptr);
  EXPECT_FALSE(hypervisor_->machine()->config().restore.has_value());
  EXPECT_FALSE(stored().runs_on_snapshot);
}

TEST_F(MonitorSnapshotTest, SecondLifeOfACloneBootsFromItsDisk) {
  record_.started_ns = 1;
  record_.status = VmStatus::kExited;
  prepare_clone();
  launch();
  ASSERT_NE(hypervisor_->machine(), nullptr);
  EXPECT_FALSE(hypervisor_->machine()->config().restore.has_value());
  EXPECT_FALSE(stored().runs_on_snapshot);
}

}  // namespace
}  // namespace vm
