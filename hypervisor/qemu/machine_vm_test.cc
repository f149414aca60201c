// Real guests under QEMU. The kernel and the modules are those of the data directory, or of
// FCVM_TEST_KERNEL and FCVM_TEST_INITRAMFS; the guest's user space is test_guest.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/process.h"
#include "hypervisor/qemu/qemu.h"
#include "tests/support/leak_check.h"
#include "tests/support/paths.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace hypervisor::qemu {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using Reason = MachineExit::Reason;

// A guest under tcg on a busy machine.
constexpr milliseconds kPatience{120000};
constexpr milliseconds kSoon{30000};

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::string kernel_file() {
  const std::string named = from_environment("FCVM_TEST_KERNEL");
  return named.empty() ? (tests::data_dir() / "kernels/vmlinux.bin").string() : named;
}

// The newest initramfs of the data directory.
std::string product_initramfs() {
  const std::string named = from_environment("FCVM_TEST_INITRAMFS");
  if (!named.empty()) return named;
  namespace fs = std::filesystem;
  std::string newest;
  fs::file_time_type newest_time{};
  for (const auto& entry : fs::directory_iterator(tests::data_dir() / "initramfs")) {
    if (entry.path().extension() != ".cpio") continue;
    if (newest.empty() || entry.last_write_time() > newest_time) {
      newest = entry.path().string();
      newest_time = entry.last_write_time();
    }
  }
  return newest;
}

// One file as a cpio archive ("newc", linux/Documentation/driver-api/early-userspace/
// buffer-format.rst). The kernel unpacks archives that follow each other, later ones over earlier.
std::string cpio_of(const std::string& name, const std::string& content) {
  const auto entry = [](const std::string& file, unsigned mode, const std::string& data) {
    std::array<char, 111> header{};
    std::snprintf(header.data(), header.size(),
                  "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", 1U, mode, 0U, 0U,
                  1U, 0U, static_cast<unsigned>(data.size()), 0U, 0U, 0U, 0U,
                  static_cast<unsigned>(file.size() + 1), 0U);
    std::string out(header.data());
    out += file + '\0';
    out.append((4 - out.size() % 4) % 4, '\0');
    out += data;
    out.append((4 - out.size() % 4) % 4, '\0');
    return out;
  };
  return entry(name, S_IFREG | 0755, content) + entry("TRAILER!!!", 0, "");
}

class QemuMachineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (from_environment("FCVM_TEST_KERNEL").empty()) FCVM_REQUIRE(vm);
    const std::string guest =
        base::read_file((tests::bin_dir() / "hypervisor-test-guest").string());
    std::string archive = base::read_file(product_initramfs());
    archive.append((512 - archive.size() % 512) % 512, '\0');
    archive += cpio_of("init", guest);
    std::filesystem::create_directory(dir_ / "vm");
    config_.vm_id = "fcvm-test-qemu";
    config_.vm_dir = (dir_ / "vm").string();
    config_.kernel = kernel_file();
    config_.initramfs = dir_.write("initramfs.cpio", archive).string();
    config_.mem_mib = 256;
    config_.accel = Accel::kTcg;
    config_.console_log = (dir_ / "console.log").string();
    config_.boot_deadline = kPatience;
    add_disk("root", "vm/disk.raw", false);
    add_disk("image", "image.ext4", true);
  }

  void add_disk(const std::string& id, const std::string& file, bool read_only) {
    const auto path = dir_.write(file, "");
    std::filesystem::resize_file(path, 16 << 20);
    config_.disks.push_back({id, path.string(), read_only, id == "root"});
  }

  void start() {
    MachineEvents events;
    events.on_exit = [this](const MachineExit& exit) {
      EXPECT_FALSE(exit_) << "ended twice";
      EXPECT_TRUE(!link_ || link_down_) << "the end was told before the link had delivered";
      exit_ = exit;
    };
    machine_ = qemu_->start(loop_, config_, std::move(events));
    vmm_pid_ = machine_->vmm_pid();
    link_ = machine_->take_guest_link();
    wire::Link::Handler handler;
    handler.on_down = [this](const std::string&) { link_down_ = true; };
    link_->set_handler(std::move(handler));
  }

  void boot() {
    start();
    ASSERT_TRUE(wait([this] { return exit_ || machine_->state() == MachineState::kRunning; }));
    ASSERT_FALSE(exit_) << exit_->detail << "\n" << exit_->console_tail;
  }

  // The guest's answer to a command of test_guest.cc.
  std::string ask(const std::string& command, milliseconds patience = kPatience) {
    std::string answer;
    bool done = false;
    const auto stream = link_->open("run", command);
    wire::Stream::Handler handler;
    handler.on_data = [&](std::string_view data) {
      answer += data;
      stream->consume(data.size());
    };
    handler.on_eof = [&] { done = true; };
    handler.on_reset = [&](wire::ResetReason reason) {
      answer += base::cat(" reset: ", wire::to_string(reason));
      done = true;
    };
    stream->set_handler(std::move(handler));
    stream->shutdown_write();
    return loop_.run_until([&] { return done; }, patience) ? answer : "(no answer)";
  }

  // Runs an operation to its end: "" when it succeeded.
  std::string complete(const std::function<void(Completion)>& operation) {
    std::optional<std::string> outcome;
    operation(
        [&](base::Result<void> result) { outcome = result.ok() ? "" : result.error().what(); });
    return wait([&] { return outcome.has_value(); }) ? *outcome : "(not completed)";
  }

  MachineStats stats() {
    std::optional<MachineStats> answer;
    machine_->stats(kSoon, [&](base::Result<MachineStats> result) {
      answer = result.ok() ? result.value() : MachineStats{};
      EXPECT_TRUE(result.ok()) << result.error().what();
    });
    EXPECT_TRUE(wait([&] { return answer.has_value(); }));
    return answer.value_or(MachineStats{});
  }

  bool wait(const std::function<bool()>& done) { return loop_.run_until(done, kPatience); }

  void expect_end(Reason reason) {
    ASSERT_TRUE(wait([this] { return exit_.has_value(); }));
    EXPECT_EQ(exit_->reason, reason) << to_string(exit_->reason) << ": " << exit_->detail << "\n"
                                     << exit_->console_tail;
    EXPECT_EQ(::kill(vmm_pid_, 0), -1) << "the VMM was not reaped";
    EXPECT_EQ(machine_->state(), MachineState::kEnded);
  }

  tests::TempDir dir_;
  base::EventLoop loop_;
  std::unique_ptr<Hypervisor> qemu_ = make_qemu();
  MachineConfig config_;
  std::unique_ptr<Machine> machine_;
  std::unique_ptr<wire::Link> link_;
  std::optional<MachineExit> exit_;
  pid_t vmm_pid_ = 0;
  bool link_down_ = false;
};

TEST_F(QemuMachineTest, GuestSeesWhatWasConfiguredAndPowersOff) {
  const tests::LeakCheck before(dir_.path());
  config_.vcpus = 2;
  boot();
  EXPECT_EQ(ask("disks"), "root:rw:16777216 image:ro:16777216 ");
  EXPECT_EQ(ask("cpus"), "2");
  EXPECT_THAT(ask("clocksource"), HasSubstr("tsc"));
  EXPECT_THAT(ask("write_image"), HasSubstr("Operation not permitted"));
  EXPECT_EQ(ask("write_root"), "written");
  EXPECT_EQ(ask("poweroff"), "bye");
  expect_end(Reason::kGuestShutdown);
  EXPECT_TRUE(exit_->vmm_status.success());
  EXPECT_TRUE(
      base::read_file((dir_ / "vm/disk.raw").string()).starts_with(std::string(1 << 20, 'w')));
  machine_.reset();
  link_.reset();
  EXPECT_EQ(before.diff(), "");
}

TEST_F(QemuMachineTest, PausedGuestAnswersOnlyAfterResume) {
  boot();
  EXPECT_EQ(complete([&](Completion done) { machine_->pause(kSoon, std::move(done)); }), "");
  EXPECT_EQ(machine_->state(), MachineState::kPaused);
  const auto before = stats();
  EXPECT_EQ(ask("cpus", milliseconds(300)), "(no answer)");
  const auto after = stats();
  EXPECT_LE((after.vcpu_time - before.vcpu_time).count(), 20'000) << "a paused vCPU ran";
  EXPECT_EQ(complete([&](Completion done) { machine_->pause(kSoon, std::move(done)); }), "");
  EXPECT_EQ(complete([&](Completion done) { machine_->resume(kSoon, std::move(done)); }), "");
  EXPECT_EQ(machine_->state(), MachineState::kRunning);
  EXPECT_EQ(ask("cpus"), "1");
}

TEST_F(QemuMachineTest, BalloonTakesGuestMemoryAndGivesItBack) {
  boot();
  const long free_before = std::stol(ask("free_mib"));
  EXPECT_EQ(
      complete([&](Completion done) { machine_->set_balloon_target(160, kSoon, std::move(done)); }),
      "");
  EXPECT_TRUE(wait([&] { return stats().balloon_bytes >= 90ULL << 20; }));
  EXPECT_LT(std::stol(ask("free_mib")), free_before - 60);
  EXPECT_EQ(complete([&](Completion done) {
              machine_->set_balloon_target(4096, kSoon, std::move(done));
            }),
            "");
  EXPECT_TRUE(wait([&] { return stats().balloon_bytes == 0; }));
  EXPECT_NE(
      complete([&](Completion done) { machine_->set_balloon_target(0, kSoon, std::move(done)); }),
      "");
}

TEST_F(QemuMachineTest, StatisticsCountTimeMemoryAndBlocks) {
  boot();
  EXPECT_EQ(ask("write_root"), "written");
  const MachineStats now = stats();
  EXPECT_GT(now.vcpu_time.count(), 100'000);
  EXPECT_GE(now.vmm_time, now.vcpu_time);
  EXPECT_EQ(now.guest_mem_bytes, 256ULL << 20);
  EXPECT_GT(now.resident_bytes, 20ULL << 20);
  EXPECT_LE(now.resident_bytes, now.guest_mem_bytes);
  ASSERT_EQ(now.disks.size(), 2U);
  EXPECT_EQ(now.disks[0].id, "root");
  EXPECT_EQ(now.disks[0].written_bytes, 1U << 20);
  EXPECT_EQ(now.disks[1].written_bytes, 0U);
}

TEST_F(QemuMachineTest, MachineWithoutBalloonRefusesATarget) {
  config_.balloon = false;
  boot();
  EXPECT_THAT(
      complete([&](Completion done) { machine_->set_balloon_target(128, kSoon, std::move(done)); }),
      HasSubstr("without a balloon"));
  EXPECT_EQ(stats().balloon_bytes, 0U);
}

TEST_F(QemuMachineTest, VmmKilledBySomebodyIsNoticedWithItsSignal) {
  boot();
  ASSERT_EQ(::kill(vmm_pid_, SIGKILL), 0);
  expect_end(Reason::kVmmFailed);
  EXPECT_EQ(exit_->vmm_status.signal, SIGKILL);
  EXPECT_THAT(exit_->detail, HasSubstr("signal 9"));
}

TEST_F(QemuMachineTest, KillEndsARunningGuest) {
  boot();
  machine_->kill();
  expect_end(Reason::kKilled);
}

TEST_F(QemuMachineTest, QuitEndsTheVmmInGoodOrder) {
  boot();
  machine_->quit(kSoon);
  expect_end(Reason::kQuit);
  EXPECT_TRUE(exit_->vmm_status.success());
}

TEST_F(QemuMachineTest, QuitOfAVmmThatHangsKillsItAtTheDeadline) {
  boot();
  ASSERT_EQ(::kill(vmm_pid_, SIGSTOP), 0);
  machine_->quit(milliseconds(200));
  expect_end(Reason::kQuit);
  EXPECT_EQ(exit_->vmm_status.signal, SIGKILL);
}

TEST_F(QemuMachineTest, RebootOfTheGuestEndsTheMachine) {
  boot();
  EXPECT_EQ(ask("reset"), "bye");
  expect_end(Reason::kGuestReset);
}

TEST_F(QemuMachineTest, PanicOfTheGuestIsNamedWithItsReason) {
  boot();
  EXPECT_EQ(ask("panic"), "bye");
  expect_end(Reason::kGuestPanic);
  EXPECT_THAT(exit_->detail, HasSubstr("sysrq triggered crash"));
}

TEST_F(QemuMachineTest, GuestThatNeverSaysHelloIsABootTimeoutWithItsLastWords) {
  config_.kernel_args = "guest_mode=silent";
  config_.boot_deadline = milliseconds(15000);
  start();
  expect_end(Reason::kBootTimeout);
  EXPECT_THAT(exit_->detail, HasSubstr("15000 ms"));
  EXPECT_THAT(exit_->console_tail, HasSubstr("the guest keeps silent"));
}

TEST_F(QemuMachineTest, DestroyedMachineLeavesNothing) {
  const tests::LeakCheck before(dir_.path());
  boot();
  machine_.reset();
  EXPECT_EQ(::kill(vmm_pid_, 0), -1);
  link_.reset();
  EXPECT_EQ(before.diff(), "");
  EXPECT_FALSE(exit_);
}

TEST_F(QemuMachineTest, VmmThatCannotStartSaysWhy) {
  // Passes every check of ours, not QEMU's: an ELF without a PVH note.
  config_.kernel = (tests::bin_dir() / "hypervisor-test-guest").string();
  start();
  expect_end(Reason::kVmmFailed);
  EXPECT_THAT(exit_->detail, HasSubstr("PVH"));
}

TEST_F(QemuMachineTest, WhatIsMissingIsNamedBeforeTheStart) {
  const auto refusal = [this] {
    try {
      start();
      return std::string("started");
    } catch (const base::Error& error) {
      return std::string(error.what());
    }
  };
  const MachineConfig good = config_;
  config_.kernel = (dir_ / "no-kernel").string();
  EXPECT_THAT(refusal(), HasSubstr("no-kernel': No such file"));
  config_ = good;
  config_.kernel = dir_.write("bzImage", "MZ not an ELF").string();
  EXPECT_THAT(refusal(), HasSubstr("no uncompressed ELF vmlinux"));
  config_ = good;
  config_.disks[1].path = (dir_ / "no-image").string();
  EXPECT_THAT(refusal(), HasSubstr("no-image"));
  config_ = good;
  config_.cpuset = "0-";
  EXPECT_THAT(refusal(), HasSubstr("list of CPUs"));
  config_ = good;
  config_.accel = Accel::kKvm;
  if (!qemu_->probe().kvm) {
    EXPECT_THAT(refusal(), HasSubstr("kvm cannot be used"));
  }
}

TEST_F(QemuMachineTest, VmDirectoryIsAtTheFixedPathInAMountNamespaceOfItsOwn) {
  FCVM_REQUIRE(root);
  config_.cpuset = "0";
  start();
  const std::string mounts = base::read_file(base::cat("/proc/", vmm_pid_, "/mountinfo"));
  EXPECT_THAT(mounts, HasSubstr(base::cat(" ", kVmDirInNamespace, " ")));
  EXPECT_EQ(base::read_file("/proc/self/mountinfo").find(kVmDirInNamespace), std::string::npos);
  const std::string status = base::read_file(base::cat("/proc/", vmm_pid_, "/status"));
  EXPECT_THAT(status, HasSubstr("Cpus_allowed_list:\t0\n"));
  machine_->kill();
  expect_end(Reason::kKilled);
}

TEST(QemuTest, VersionIsThatOfTheProgram) {
  FCVM_REQUIRE(vm);
  EXPECT_THAT(make_qemu()->version(), ::testing::ContainsRegex("^[0-9]+\\.[0-9]+"));
}

// A monitor that is killed takes its VMM along.
TEST_F(QemuMachineTest, VmmDiesWithTheProcessThatStartedIt) {
  base::Pipe pipe = base::make_pipe();
  const pid_t starter = ::fork();
  ASSERT_GE(starter, 0);
  if (starter == 0) {
    try {
      base::EventLoop loop;
      const auto machine = qemu_->start(loop, config_, {});
      base::write_all(pipe.write, base::cat(machine->vmm_pid(), "\n"));
      loop.run();
    } catch (...) {
    }
    ::_exit(1);
  }
  pipe.write.reset();
  std::string text;
  char c = 0;
  while (::read(pipe.read.get(), &c, 1) == 1 && c != '\n') text += c;
  ASSERT_NE(text, "");
  const auto vmm = base::identify_process(static_cast<pid_t>(std::stol(text)));
  ASSERT_TRUE(vmm);
  const base::Fd pidfd = base::open_process(*vmm);
  ASSERT_TRUE(pidfd.valid());
  ::kill(starter, SIGKILL);
  EXPECT_EQ(::waitpid(starter, nullptr, 0), starter);
  EXPECT_TRUE(base::wait_for(pidfd.get(), POLLIN, kSoon)) << "the VMM is an orphan";
}

}  // namespace
}  // namespace hypervisor::qemu
