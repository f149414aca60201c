// A monitor with a fake VMM, a played guest and a played command.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/files.h"
#include "hypervisor/fake/fake.h"
#include "tests/support/temp_dir.h"
#include "vm/monitor/monitor.h"
#include "vm/testing/fake_agent.h"
#include "wire/mux_link.h"

namespace vm {

using hypervisor::MachineExit;
using std::chrono::milliseconds;
using std::chrono::seconds;

// A command attached to the VM, as the CLI attaches.
class TestClient {
 public:
  TestClient(base::EventLoop& loop, base::Fd socket) {
    link_ = wire::make_mux_link(loop, std::move(socket), {});
    wire::Link::Handler handler;
    handler.on_down = [this](const std::string&) { down = true; };
    link_->set_handler(std::move(handler));
  }

  void start(const wire::ProcessStart& start) {
    if (wire::needs_stdio(start)) {
      stdio = link_->open(wire::kStdioService, "1");
      listen(*stdio, out, out_ended);
    }
    if (wire::needs_stderr(start)) {
      err_stream = link_->open(wire::kStderrService, "1");
      listen(*err_stream, err, err_ended);
    }
    control = std::make_unique<wire::MessageStream>(link_->open(wire::kProcessService, "1"));
    wire::MessageStream::Handler handler;
    handler.on_message = [this](std::string_view message) {
      events.push_back(wire::parse_process_event(message));
    };
    control->set_handler(std::move(handler));
    control->send(wire::to_json(start));
  }

  void command(const wire::ProcessCommand& command) const { control->send(wire::to_json(command)); }

  void ask(const MonitorRequest& request) {
    request_ = std::make_unique<wire::MessageStream>(link_->open(wire::kRequestService, ""));
    wire::MessageStream::Handler handler;
    handler.on_message = [this](std::string_view message) { reply = parse_monitor_reply(message); };
    request_->set_handler(std::move(handler));
    request_->send(to_json(request));
  }

  void leave() {
    stdio.reset();
    err_stream.reset();
    control.reset();
    request_.reset();
    link_.reset();
  }

  bool ended() const {
    return !events.empty() && events.back().kind != wire::ProcessEvent::Kind::kStarted;
  }

  bool reading = true;  // false: takes data and grants no credit
  std::size_t unread = 0;
  std::string out;
  std::string err;
  bool out_ended = false;
  bool err_ended = false;
  bool down = false;
  std::vector<wire::ProcessEvent> events;
  std::optional<MonitorReply> reply;
  std::unique_ptr<wire::Stream> stdio;
  std::unique_ptr<wire::Stream> err_stream;
  std::unique_ptr<wire::MessageStream> control;

 private:
  void listen(wire::Stream& stream, std::string& text, bool& ended) {
    wire::Stream::Handler handler;
    handler.on_data = [this, &stream, &text](std::string_view data) {
      text += data;
      if (reading) {
        stream.consume(data.size());
      } else {
        unread += data.size();
      }
    };
    handler.on_eof = [&ended] { ended = true; };
    stream.set_handler(std::move(handler));
  }

  std::unique_ptr<wire::Link> link_;
  std::unique_ptr<wire::MessageStream> request_;
};

class MonitorTest : public ::testing::Test {
 protected:
  MonitorTest() : store_(storage::DataDirectory(directory_.path())) {}

  void SetUp() override {
    record_.id = std::string(64, 'a');
    record_.name = "web";
    record_.status = VmStatus::kCreated;
    record_.stop_timeout_s = 10;
  }

  void TearDown() override {
    monitor_.reset();
    base::remove_tree(store_.data().run());
  }

  // Starts the monitor with one attached client.
  void begin(wire::ProcessStart start = container_start()) {
    prepare();
    launch(std::move(start));
    ASSERT_NE(hypervisor_, nullptr) << stored().error;
    if (start_error_.empty()) {
      ASSERT_NE(hypervisor_->machine(), nullptr) << stored().error;
    }
    if (hypervisor_->machine() != nullptr) {
      agent_ =
          std::make_unique<testing::FakeAgent>(loop_, hypervisor_->machine()->take_guest_end());
    }
  }

  // The client reads no more, and everything between it and the guest is filled: until the guest has
  // no credit left. How much that took.
  std::size_t fill_output(testing::FakeAgent::Process& process) {
    client_->reading = false;
    const std::string block(64 * 1024, 'x');
    std::size_t sent = 0;
    loop_.run_until(
        [&] {
          sent += process.print(block);
          return false;
        },
        milliseconds(300));
    return sent;
  }

  // Why the monitor refuses to start a further process.
  std::string refused_exec() {
    TestClient other(loop_, base::connect_unix(store_.paths(record_.id).monitor_socket));
    wire::ProcessStart start;
    start.process_json = "{}";
    other.start(start);
    EXPECT_TRUE(until([&] { return other.ended(); }));
    if (!other.ended()) return {};
    EXPECT_EQ(other.events.back().code, 125);
    return other.events.back().message;
  }

  // What a command leaves to the monitor.
  void prepare() {
    const VmPaths paths = store_.paths(record_.id);
    base::make_directories(paths.disks, 0700);
    LaunchPlan plan;
    plan.kernel = "/vmlinux";
    plan.cpus = 1;
    plan.mem_mib = 64;
    base::write_file(paths.root_disk, "");
    plan.disks = {{"root", paths.root_disk, false}};
    if (user_disk_) plan.disks.push_back({"disk0", paths.root_disk, false});
    plan.boot.host_name = "guest";
    plan.boot.machine_id = std::string(32, '0');
    plan.boot.container.id = record_.id;
    plan.boot.container.bundle = "/run/fcvm/bundle";
    plan.boot.container.config_json = "{}";
    plan.boot.container.root = {{"/run/fcvm/image/l0"}, "/var/u", "/var/w", "/run/fcvm/rootfs"};
    base::write_file(paths.launch_plan, to_json(plan));
    store_.create(record_);
  }

  void launch(wire::ProcessStart start = container_start()) {
    auto pair = base::make_socket_pair(SOCK_STREAM);
    MonitorOptions options;
    options.vm_id = record_.id;
    options.first_client = std::move(pair.second);
    options.go_on_limit = go_on_limit_;
    client_ = std::make_unique<TestClient>(loop_, std::move(pair.first));
    client_->start(std::move(start));
    monitor_ = std::make_unique<Monitor>(loop_, store_, make_hypervisor_, std::move(options));
    monitor_->begin();
  }

  // Up to the container's first process being started.
  testing::FakeAgent::Process& run_container() {
    EXPECT_TRUE(until([this] { return agent_->plan() != nullptr; }));
    agent_->ready();
    EXPECT_TRUE(until([this] { return !agent_->processes.empty(); }));
    agent_->processes[0]->started();
    EXPECT_TRUE(until([this] { return !client_ || !client_->events.empty(); }));
    return *agent_->processes[0];
  }

  // The client hears of a failure, and its output ends.
  void expect_told(const std::string& why) {
    ASSERT_TRUE(until([this] {
      return client_->ended() && (!client_->stdio || client_->out_ended) &&
             (!client_->err_stream || client_->err_ended);
    }));
    EXPECT_EQ(client_->events.back().kind, wire::ProcessEvent::Kind::kFailed);
    EXPECT_EQ(client_->events.back().code, 125);
    EXPECT_NE(client_->events.back().message.find(why), std::string::npos)
        << client_->events.back().message;
  }

  bool until(const std::function<bool()>& done) { return loop_.run_until(done, seconds(10)); }

  static wire::ProcessStart container_start() {
    wire::ProcessStart start;
    start.kind = wire::ProcessStart::Kind::kContainer;
    return start;
  }

  VmRecord stored() { return store_.read(record_.id).take(); }
  std::string log() { return base::try_read_file(store_.paths(record_.id).log).value_or(""); }
  bool powered_off() {
    return !agent_->requests.empty() &&
           agent_->requests.back().op == wire::ControlRequest::Op::kShutdown;
  }
  // What a guest does when it is told to shut down.
  void power_off() {
    ASSERT_TRUE(until([this] { return powered_off(); }));
    hypervisor_->machine()->end(MachineExit::Reason::kGuestShutdown);
  }

  tests::TempDir directory_;
  base::EventLoop loop_;
  VmStore store_;
  VmRecord record_;
  std::string start_error_;
  bool user_disk_ = false;
  milliseconds go_on_limit_{10'000};
  Monitor::MakeHypervisor make_hypervisor_ = [this](const std::string&) {
    auto hypervisor = std::make_unique<hypervisor::fake::FakeHypervisor>();
    hypervisor_ = hypervisor.get();
    hypervisor->start_error = start_error_;
    return hypervisor;
  };
  hypervisor::fake::FakeHypervisor* hypervisor_ = nullptr;
  std::unique_ptr<Monitor> monitor_;
  std::unique_ptr<TestClient> client_;
  std::unique_ptr<testing::FakeAgent> agent_;
};

}  // namespace vm
