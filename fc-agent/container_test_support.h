// What the tests of containers share: an agent's services and the host's end of its link in one
// process, with a stand-in for crun.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/fd.h"
#include "fc-agent/control_service.h"
#include "fc-agent/fake_crun.h"
#include "fc-agent/podman.h"
#include "fc-agent/process_service.h"
#include "fc-agent/process_test_client.h"
#include "tests/support/temp_dir.h"
#include "wire/mux_link.h"

namespace fc_agent {

class ContainerTest : public ::testing::Test {
 protected:
  using milliseconds = std::chrono::milliseconds;

  static Podman no_podman(const tests::TempDir&) { return {}; }

  // `podman` is given the directory of the test.
  explicit ContainerTest(Podman (*podman)(const tests::TempDir&) = no_podman)
      : service_(ProcessContext{loop_,
                                reaper_,
                                {fake_crun_program(), "/unused"},
                                podman(directory_),
                                directory_ / "run",
                                milliseconds(3000)}),
        control_(loop_, service_,
                 [this](int signal, milliseconds timeout, std::function<void()> done) {
                   shutdown_signal_ = signal;
                   shutdown_timeout_ = timeout;
                   done();
                 }) {
    ::signal(SIGPIPE, SIG_IGN);
    // As PID 1 of a guest is, by being it.
    ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    auto sockets = base::make_socket_pair(SOCK_STREAM);
    wire::MuxOptions options;
    options.side = wire::Side::kHost;
    host_socket_ = base::duplicate(sockets.first);
    host_ = wire::make_mux_link(loop_, std::move(sockets.first), options);
    host_->set_handler({});
    options.side = wire::Side::kGuest;
    guest_ = wire::make_mux_link(loop_, std::move(sockets.second), options);
    wire::Link::Handler handler;
    handler.on_stream = [this](std::unique_ptr<wire::Stream> stream, const std::string& service,
                               const std::string& id) {
      if (service == wire::kControlService) return control_.accept(std::move(stream));
      service_.accept(std::move(stream), service, id);
    };
    handler.on_renewed = [this] { service_.forget_host(); };
    guest_->set_handler(std::move(handler));
  }
  ~ContainerTest() override { ::prctl(PR_SET_CHILD_SUBREAPER, 0); }

  bool wait(const std::function<bool()>& done, milliseconds limit = milliseconds(20'000)) {
    return loop_.run_until(done, limit);
  }

  // What a clone sees: the link was at rest, and the next bytes are those of another host.
  void change_host() {
    bool at_rest = false;
    host_->suspend([&] { at_rest = true; });
    ASSERT_TRUE(wait([&] { return at_rest; }));
    wire::MuxOptions options;
    options.side = wire::Side::kHost;
    options.epoch = 2;
    host_.reset();
    host_ = wire::make_mux_link(loop_, base::duplicate(host_socket_), options);
    host_->set_handler({});
    ASSERT_TRUE(wait([&] { return host_->ready(); }));
  }

  // The container of `plan`, asked for before the guest is ready. `config` is its config.json, to
  // which the first process, `args`, comes.
  std::unique_ptr<ProcessTestClient> start_plan(ContainerPlan plan, nlohmann::json config,
                                                const std::vector<std::string>& args, bool tty) {
    config["process"] = nlohmann::json::parse(process_json(args, tty));
    directory_.write("bundle/config.json", config.dump());
    wire::ProcessStart start;
    start.kind = wire::ProcessStart::Kind::kContainer;
    start.tty = tty;
    start.use_stdin = tty;
    start.rows = tty ? 33 : 0;
    start.columns = tty ? 111 : 0;
    auto client = std::make_unique<ProcessTestClient>(*host_, "main", start);
    service_.set_ready(std::move(plan));
    return client;
  }

  static void expect_end(const ProcessTestClient& client, wire::ProcessEvent::Kind kind, int code,
                         int signal = 0) {
    ASSERT_TRUE(client.last().has_value());
    EXPECT_EQ(client.last()->kind, kind) << client.last()->message;
    EXPECT_EQ(client.last()->code, code) << client.last()->message;
    EXPECT_EQ(client.last()->signal, signal);
  }

  tests::TempDir directory_;
  base::EventLoop loop_;
  Reaper reaper_{loop_};
  ProcessService service_;
  ControlService control_;
  base::Fd host_socket_;  // the link's, once more
  std::unique_ptr<wire::Link> host_;
  std::unique_ptr<wire::Link> guest_;
  int shutdown_signal_ = -1;
  milliseconds shutdown_timeout_{-1};
};

}  // namespace fc_agent
