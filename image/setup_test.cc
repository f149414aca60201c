#include "image/setup.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "storage/reflink.h"
#include "tests/support/paths.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

namespace fs = std::filesystem;

class SetupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    FCVM_REQUIRE(root);
    FCVM_REQUIRE_THAT(root, tests::missing_program({"apt-get", "dpkg-deb", "mke2fs"}));
    dir_.write("agent", "an agent");
  }
  ~SetupTest() override {
    for (const auto& data : opened_) {
      storage::close_data_directory(data);
      base::remove_tree(data.run());
      base::remove_tree(data.run() + ".lock");
    }
  }

  storage::DataDirectory new_data(const std::string& path) {
    storage::DataDirectory data(path);
    opened_.push_back(data);
    return data;
  }

  // Packages that the tests' own assets were made of need no second download.
  void seed_downloads(const storage::DataDirectory& data) {
    const fs::path known = tests::data_dir() / "cache/debs";
    std::error_code ignored;
    if (!fs::is_directory(known, ignored)) return;
    base::make_directories(data.cache() + "/debs");
    for (const auto& entry : fs::directory_iterator(known)) {
      if (entry.path().extension() != ".deb") continue;
      const std::string copy = data.cache() + "/debs/" + entry.path().filename().string();
      if (!base::path_exists(copy)) storage::reflink_or_copy(entry.path(), copy, 0644);
    }
  }

  SetupOptions options(const std::function<void(const std::string&)>& on_stage = {}) {
    SetupOptions out;
    out.loop_file_bytes = 2ULL << 30;
    out.agent_path = dir_ / "agent";
    if (on_stage) {
      out.progress = [on_stage](const Progress& progress) { on_stage(progress.stage); };
    }
    return out;
  }

  static std::vector<std::string> temporaries(const storage::DataDirectory& data) {
    std::vector<std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(data.root())) {
      const std::string name = entry.path().filename();
      if (name.ends_with(".tmp")) found.push_back(entry.path());
    }
    return found;
  }

  tests::TempDir dir_;
  std::vector<storage::DataDirectory> opened_;
};

TEST_F(SetupTest, MakesAllAssetsOnceAndSurvivesKillAtEveryStage) {
  const storage::DataDirectory data = new_data(dir_ / "data");
  storage::prepare_data_directory(data, {2ULL << 30});
  seed_downloads(data);

  // Each turn dies at the first report of a stage no turn before it died at.
  std::set<std::string> died_at;
  for (int turn = 0; turn < 40; ++turn) {
    int pipe_fds[2];
    ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(pipe_fds[0]);
      try {
        run_setup(data, options([&](const std::string& stage) {
                    if (died_at.contains(stage)) return;
                    [[maybe_unused]] const ssize_t n =
                        ::write(pipe_fds[1], stage.data(), stage.size());
                    ::kill(::getpid(), SIGKILL);
                  }));
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(1);
      }
      ::_exit(0);
    }
    ::close(pipe_fds[1]);
    const base::Fd reader(pipe_fds[0]);
    const std::string stage = base::read_to_end(reader, 4096);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      break;
    }
    died_at.insert(stage);
  }
  EXPECT_GE(died_at.size(), 6U);

  const SetupResult result = run_setup(data, options());
  EXPECT_TRUE(base::path_exists(result.kernel.path));
  EXPECT_GE(result.kernel.modules.size(), 6U);
  EXPECT_TRUE(base::path_exists(result.base.path));
  EXPECT_TRUE(base::path_exists(result.initramfs.path));
  EXPECT_LT(storage::allocated_bytes(result.base.path), 64U << 20);
  EXPECT_EQ(load_kernel(data).path, result.kernel.path);
  // What the killed left where nothing was made since is swept by the next who makes something
  // there; the folders of assets hold nothing but assets by now.
  for (const auto& folder : {data.rootfs(), data.initramfs(), data.images()}) {
    for (const std::string& name : base::list_directory(folder)) {
      EXPECT_FALSE(name.ends_with(".tmp")) << folder << "/" << name;
    }
  }

  // With everything there nothing is made and no program is run.
  std::set<std::string> stages;
  const auto start = std::chrono::steady_clock::now();
  const SetupResult again =
      run_setup(data, options([&](const std::string& stage) { stages.insert(stage); }));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
  EXPECT_EQ(again.base.path, result.base.path);
  EXPECT_EQ(again.initramfs.path, result.initramfs.path);
  EXPECT_EQ(stages.count("resolving packages"), 0U);

  // A disk of another size, made once.
  const BaseRootfs larger = base_rootfs_of_size(data, 12ULL << 30);
  struct stat info {};
  ASSERT_EQ(::stat(larger.path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), 12ULL << 30);
  EXPECT_EQ(base_rootfs_of_size(data, 12ULL << 30).path, larger.path);
  const BaseRootfs smaller = base_rootfs_of_size(data, 1ULL << 30);
  ASSERT_EQ(::stat(smaller.path.c_str(), &info), 0);
  EXPECT_EQ(static_cast<std::uint64_t>(info.st_size), 1ULL << 30);
  EXPECT_THROW(base_rootfs_of_size(data, 1 << 20), base::Error);

  // The root disk holds the engine.
  const std::string mounted = dir_ / "mounted";
  base::make_directories(mounted);
  ASSERT_EQ(std::system(("mount -o loop,ro,noload " + larger.path + " " + mounted).c_str()), 0);
  const base::MountGuard guard(mounted);
  EXPECT_EQ(::access((mounted + "/usr/bin/crun").c_str(), X_OK), 0);
  EXPECT_TRUE(fs::is_symlink(mounted + "/lib64"));
  EXPECT_TRUE(base::is_directory(mounted + "/proc"));
  ASSERT_EQ(std::system(("chroot " + mounted +
                         " /lib64/ld-linux-x86-64.so.2 --list /usr/bin/crun > /dev/null")
                            .c_str()),
            0);
}

TEST_F(SetupTest, FullDiskIsOneClearErrorAndLeavesNothingHalfMade) {
  const std::string small = dir_ / "small";
  base::make_directories(small);
  base::mount_fs("tmpfs", small, "tmpfs", 0, "size=48m");
  const storage::DataDirectory data(small);
  base::write_file(small + "/.fcvm-data", "fcvm 1 plain\n");
  storage::prepare_data_directory(data);
  try {
    run_setup(data, options());
    ADD_FAILURE() << "48 MiB were enough";
  } catch (const base::Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
  EXPECT_TRUE(temporaries(data).empty());
  EXPECT_FALSE(base::path_exists(data.default_kernel()));
  base::remove_tree(data.run());
  base::remove_tree(data.run() + ".lock");
  base::unmount(small);
}

TEST_F(SetupTest, MissingAssetsNameSetupAsTheRemedy) {
  const storage::DataDirectory data(dir_ / "data");
  for (const auto& call : std::vector<std::function<void()>>{[&] { load_kernel(data); },
                                                             [&] { base_rootfs_of_size(data); }}) {
    try {
      call();
      ADD_FAILURE();
    } catch (const base::Error& error) {
      EXPECT_NE(error.hint().find("fcvm setup"), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace image
