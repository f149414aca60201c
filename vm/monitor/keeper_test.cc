#include "vm/monitor/keeper.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <csignal>

#include "base/files.h"
#include "hypervisor/fake/fake.h"
#include "tests/support/temp_dir.h"
#include "vm/testing/fake_agent.h"
#include "wire/mux_link.h"

namespace vm {
namespace {

using hypervisor::MachineExit;
using std::chrono::seconds;

// Asks a monitor over its socket, as commands do.
class Question {
 public:
  Question(base::EventLoop& loop, const std::string& socket, const MonitorRequest& request)
      : link_(wire::make_mux_link(loop, base::try_connect_unix(socket), {})) {
    link_->set_handler({});
    stream_ = std::make_unique<wire::MessageStream>(link_->open(wire::kRequestService, ""));
    wire::MessageStream::Handler handler;
    handler.on_message = [this](std::string_view message) { reply = parse_monitor_reply(message); };
    stream_->set_handler(std::move(handler));
    stream_->send(to_json(request));
  }
  std::optional<MonitorReply> reply;

 private:
  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::MessageStream> stream_;
};

class KeeperTest : public ::testing::Test {
 protected:
  KeeperTest() : store_(storage::DataDirectory(directory_.path())) {
    record_.id = std::string(64, 'a');
    record_.name = "web";
    record_.status = VmStatus::kCreated;
  }
  ~KeeperTest() override {
    questions_.clear();
    keeper_.reset();
    base::remove_tree(store_.data().run());
  }

  void begin(const std::string& policy, int max = 0) {
    record_.restart_policy = policy;
    record_.restart_max = max;
    const VmPaths paths = store_.paths(record_.id);
    base::make_directories(paths.disks, 0700);
    LaunchPlan plan;
    plan.kernel = "/vmlinux";
    plan.mem_mib = 64;
    base::write_file(paths.root_disk, "");
    plan.disks = {{"root", paths.root_disk, false}};
    plan.boot.host_name = "guest";
    plan.boot.machine_id = std::string(32, '0');
    plan.boot.container.id = record_.id;
    plan.boot.container.bundle = "/run/fcvm/bundle";
    plan.boot.container.config_json = "{}";
    plan.boot.container.root = {{"/run/fcvm/image/l0"}, "/var/u", "/var/w", "/run/fcvm/rootfs"};
    base::write_file(paths.launch_plan, to_json(plan));
    store_.create(record_);
    keeper_ = std::make_unique<Keeper>(loop_, store_, [this](const std::string&) {
      auto hypervisor = std::make_unique<hypervisor::fake::FakeHypervisor>();
      hypervisor_ = hypervisor.get();
      ++lives_;
      return hypervisor;
    });
    MonitorOptions options;
    options.vm_id = record_.id;
    keeper_->begin(std::move(options));
  }

  // The life under way, up to its container's start.
  void run_container() {
    const int life = lives_;
    agent_ = std::make_unique<testing::FakeAgent>(loop_, hypervisor_->machine()->take_guest_end());
    ASSERT_TRUE(until([this] { return agent_->plan() != nullptr; }));
    agent_->ready();
    ASSERT_TRUE(until([this] { return !agent_->processes.empty(); }));
    agent_->processes[0]->started();
    ASSERT_TRUE(until([this] { return stored().status == VmStatus::kRunning; }));
    ASSERT_EQ(lives_, life);
  }
  void exit(int code) {
    agent_->processes[0]->exit(code);
    power_off();
  }
  void power_off() {
    ASSERT_TRUE(until([this] {
      return !agent_->requests.empty() &&
             agent_->requests.back().op == wire::ControlRequest::Op::kShutdown;
    }));
    hypervisor_->machine()->end(MachineExit::Reason::kGuestShutdown);
  }
  bool next_life() {
    const int life = lives_;
    return until([this, life] { return lives_ == life + 1; });
  }
  bool over() {
    const bool exited = until([this] { return stored().status == VmStatus::kExited; });
    questions_.clear();  // a life stays for its clients
    return exited && until([this] { return !keeper_->alive(); });
  }
  Question* ask(const MonitorRequest& request) {
    questions_.push_back(
        std::make_unique<Question>(loop_, store_.paths(record_.id).monitor_socket, request));
    return questions_.back().get();
  }
  static MonitorRequest request(MonitorRequest::Op op) {
    MonitorRequest request;
    request.op = op;
    return request;
  }

  bool until(const std::function<bool()>& done) { return loop_.run_until(done, seconds(10)); }
  VmRecord stored() { return store_.read(record_.id).take(); }

  tests::TempDir directory_;
  base::EventLoop loop_;
  VmStore store_;
  VmRecord record_;
  int lives_ = 0;
  hypervisor::fake::FakeHypervisor* hypervisor_ = nullptr;  // of the present life
  std::unique_ptr<testing::FakeAgent> agent_;
  std::unique_ptr<Keeper> keeper_;
  std::vector<std::unique_ptr<Question>> questions_;
};

TEST_F(KeeperTest, WithoutAPolicyThereIsOneLife) {
  begin("");
  run_container();
  exit(3);
  EXPECT_TRUE(over());
  EXPECT_EQ(lives_, 1);
}

TEST_F(KeeperTest, OnFailureRestartsUpToItsLimit) {
  begin("on-failure", 1);
  run_container();
  exit(3);
  ASSERT_TRUE(next_life());
  EXPECT_EQ(stored().restart_count, 1);
  run_container();
  exit(4);
  EXPECT_TRUE(over());
  EXPECT_EQ(stored().exit_code, 4);
  EXPECT_EQ(stored().restart_count, 1);
}

TEST_F(KeeperTest, OnFailureLeavesSuccessAlone) {
  begin("on-failure");
  run_container();
  exit(0);
  EXPECT_TRUE(over());
  EXPECT_EQ(lives_, 1);
}

TEST_F(KeeperTest, ContainerThatNeverRanIsNotRestarted) {
  begin("always");
  hypervisor_->machine()->end(MachineExit::Reason::kVmmFailed);
  EXPECT_TRUE(over());
  EXPECT_EQ(lives_, 1);
}

TEST_F(KeeperTest, StopEndsWhatIsAlwaysRestarted) {
  begin("always");
  run_container();
  exit(0);
  ASSERT_TRUE(next_life());
  run_container();
  const Question* stop = ask(request(MonitorRequest::Op::kStop));
  ASSERT_TRUE(until([this] { return !agent_->requests.empty(); }));
  exit(0);
  ASSERT_TRUE(until([&] { return stop->reply.has_value(); }));
  EXPECT_EQ(stop->reply->exit_code, 0);
  EXPECT_TRUE(over());
  EXPECT_EQ(lives_, 2);
}

TEST_F(KeeperTest, StopWhileTheNextLifeIsDelayedKeepsTheLastStatus) {
  begin("always");
  run_container();
  exit(7);
  ASSERT_TRUE(until([this] { return stored().restart_count == 1; }));
  EXPECT_EQ(stored().status, VmStatus::kStarting);
  const Question* stop = ask(request(MonitorRequest::Op::kStop));
  ASSERT_TRUE(until([&] { return stop->reply.has_value(); }));
  EXPECT_EQ(stop->reply->exit_code, 7);
  EXPECT_TRUE(over());
  EXPECT_EQ(stored().exit_code, 7);
  EXPECT_EQ(lives_, 1);
}

TEST_F(KeeperTest, RestartIsAnsweredWhenTheContainerRunsAgain) {
  begin("");
  run_container();
  const Question* restart = ask(request(MonitorRequest::Op::kRestart));
  ASSERT_TRUE(until([this] { return !agent_->requests.empty(); }));
  exit(0);
  ASSERT_TRUE(next_life());
  EXPECT_FALSE(restart->reply.has_value());
  run_container();
  ASSERT_TRUE(until([&] { return restart->reply.has_value(); }));
  EXPECT_TRUE(restart->reply->ok);
  EXPECT_EQ(stored().restart_count, 0);
  exit(5);
  EXPECT_TRUE(over());
}

TEST_F(KeeperTest, RestartThatFailsToStartSaysSo) {
  begin("");
  run_container();
  const Question* restart = ask(request(MonitorRequest::Op::kRestart));
  ASSERT_TRUE(until([this] { return !agent_->requests.empty(); }));
  exit(0);
  ASSERT_TRUE(next_life());
  hypervisor_->machine()->end(MachineExit::Reason::kVmmFailed);
  ASSERT_TRUE(until([&] { return restart->reply.has_value(); }));
  EXPECT_FALSE(restart->reply->ok);
  EXPECT_NE(restart->reply->error, "");
  EXPECT_TRUE(over());
}

TEST_F(KeeperTest, StopBeatsARestartUnderWay) {
  begin("always");
  run_container();
  const Question* restart = ask(request(MonitorRequest::Op::kRestart));
  ASSERT_TRUE(until([this] { return !agent_->requests.empty(); }));
  const Question* stop = ask(request(MonitorRequest::Op::kStop));
  const Question* ping = ask(request(MonitorRequest::Op::kPing));
  ASSERT_TRUE(until([&] { return ping->reply.has_value(); }));
  exit(0);
  ASSERT_TRUE(until([&] { return stop->reply.has_value() && restart->reply.has_value(); }));
  EXPECT_FALSE(restart->reply->ok);
  EXPECT_TRUE(over());
  EXPECT_EQ(lives_, 1);
}

TEST_F(KeeperTest, VmToBeRemovedIsShutDownInOrderToLiveAgain) {
  record_.auto_remove = true;
  begin("");
  run_container();
  const Question* restart = ask(request(MonitorRequest::Op::kRestart));
  ASSERT_TRUE(until([this] { return !agent_->requests.empty(); }));
  exit(0);
  ASSERT_TRUE(next_life());
  run_container();
  ASSERT_TRUE(until([&] { return restart->reply.has_value(); }));
  EXPECT_TRUE(restart->reply->ok);
}

TEST_F(KeeperTest, RenameIsWrittenAndKept) {
  begin("");
  run_container();
  MonitorRequest rename = request(MonitorRequest::Op::kRename);
  rename.name = "other";
  const Question* answer = ask(rename);
  ASSERT_TRUE(until([&] { return answer->reply.has_value(); }));
  EXPECT_TRUE(answer->reply->ok);
  EXPECT_EQ(stored().name, "other");
  exit(0);
  EXPECT_TRUE(over());
  EXPECT_EQ(stored().name, "other");
}

}  // namespace
}  // namespace vm
