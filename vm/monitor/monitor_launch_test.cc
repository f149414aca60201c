// What fails before a VM runs reaches the command that wanted it, and the record.
#include <sys/resource.h>

#include <csignal>
#include <stdexcept>
#include <thread>

#include "base/process.h"
#include "vm/monitor/monitor_test_support.h"

namespace vm {
namespace {

using MonitorLaunchTest = MonitorTest;

TEST_F(MonitorLaunchTest, LaunchPlanThatCannotBeReadIsToldAndRecorded) {
  prepare();
  base::write_file(store_.paths(record_.id).launch_plan, "{");
  launch();
  expect_told("parsing JSON");
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

TEST_F(MonitorLaunchTest, LogThatCannotBeMadeIsToldAndRecorded) {
  prepare();
  base::make_directories(store_.paths(record_.id).log, 0700);
  launch();
  expect_told("ctr.log': Is a directory");
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

TEST_F(MonitorLaunchTest, SocketThatCannotBeMadeIsToldAndRecorded) {
  prepare();
  base::make_directories(store_.data().run(), 0700);
  base::write_file(store_.paths(record_.id).run, "");
  launch();
  expect_told("Not a directory");
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

TEST_F(MonitorLaunchTest, RecordThatCannotBeWrittenIsTold) {
  prepare();
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &none), 0);
  launch();
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  expect_told("File too large");
}

TEST_F(MonitorLaunchTest, ExceptionThatIsNoErrorOfOursIsTold) {
  make_hypervisor_ = [](const std::string&) -> std::unique_ptr<hypervisor::Hypervisor> {
    throw std::out_of_range("by surprise");
  };
  prepare();
  launch();
  expect_told("by surprise");
  EXPECT_EQ(stored().status, VmStatus::kExited);
}

TEST_F(MonitorLaunchTest, AutoRemovedVmThatCannotBeLaunchedLeavesNothing) {
  record_.auto_remove = true;
  prepare();
  base::write_file(store_.paths(record_.id).launch_plan, "{");
  launch();
  expect_told("parsing JSON");
  EXPECT_EQ(store_.read(record_.id).error().errnum(), ENOENT);
  EXPECT_FALSE(base::path_exists(store_.paths(record_.id).disks));
}

TEST_F(MonitorLaunchTest, ClientOfAVmThatCannotBeKeptIsTold) {
  for (const bool detach : {false, true}) {
    auto pair = base::make_socket_pair(SOCK_STREAM);
    std::thread monitor(
        [&] { refuse_client(std::move(pair.second), "locking record 'x' timed out"); });
    auto start = container_start();
    start.detach = detach;
    start.use_stdout = start.use_stderr = !detach;
    client_ = std::make_unique<TestClient>(loop_, std::move(pair.first));
    client_->start(start);
    expect_told("locking record 'x' timed out");
    client_->leave();
    monitor.join();
  }
}

TEST_F(MonitorLaunchTest, ProgramWithoutAVmToKeepTellsItsClient) {
  auto pair = base::make_socket_pair(SOCK_STREAM);
  base::SpawnOptions options;
  options.argv = {FCVM_MONITOR,  "--data-dir", directory_.path(), "--id", record_.id,
                  "--client-fd", "3"};
  options.fds = {{pair.second.get(), 3}};
  base::ChildProcess monitor = base::ChildProcess::spawn(options);
  pair.second.reset();
  client_ = std::make_unique<TestClient>(loop_, std::move(pair.first));
  client_->start(container_start());
  expect_told("No such file or directory");
  client_->leave();
  EXPECT_EQ(monitor.wait()->code, 125);
}

}  // namespace
}  // namespace vm
