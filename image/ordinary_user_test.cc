// Image disks made by an ordinary user, in a user namespace.
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/image_store_test_support.h"

namespace image {
namespace {

using testing::TarEntry;

// ensure() as an ordinary user, who owns `home`; in a mount namespace of its own with these
// /etc/subuid and /etc/subgid. Returns the exit status: 0 when there is exactly one image.
constexpr unsigned kNobody = 65534;

int ensure_as_nobody(const std::string& reference, const std::string& home,
                     const std::string& subordinate_ids) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      if (::unshare(CLONE_NEWNS) != 0 || ::mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) != 0) {
        ::_exit(4);
      }
      for (const char* file : {"/etc/subuid", "/etc/subgid"}) {
        if (::mount(subordinate_ids.c_str(), file, "", MS_BIND, nullptr) != 0) ::_exit(5);
      }
      ::setenv("XDG_RUNTIME_DIR", home.c_str(), 1);
      ::setenv("HOME", home.c_str(), 1);
      if (::setgroups(0, nullptr) != 0 || ::setresgid(kNobody, kNobody, kNobody) != 0 ||
          ::setresuid(kNobody, kNobody, kNobody) != 0) {
        ::_exit(2);
      }
      const storage::DataDirectory data(home + "/data");
      storage::prepare_data_directory(data);
      ImageStore(data).ensure(reference);
      ::_exit(base::list_directory(data.images()).size() == 1 ? 0 : 3);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
      ::_exit(1);
    }
  }
  int status = -1;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

class OrdinaryUserTest : public ImageStoreTest {
 protected:
  void SetUp() override {
    ImageStoreTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const bool may =
        std::system("setpriv --reuid=65534 --clear-groups unshare --map-root-user true") == 0;
    FCVM_REQUIRE_THAT(user_ids, may ? "" : "ordinary users may not make user namespaces here");
    home_ = dir_ / "home";
    base::make_directories(home_);
    ASSERT_EQ(::chown(home_.c_str(), kNobody, kNobody), 0);
    ASSERT_EQ(::chmod(dir_.path().c_str(), 0755), 0);
  }

  std::string root_of_disk() {
    const ImageStore theirs(storage::DataDirectory(home_ + "/data"));
    return mount_root(theirs.list().at(0));
  }

  std::string home_;
};

TEST_F(OrdinaryUserTest, DiskIsWithoutTheDeletedFiles) {
  const std::string reference = archive(
      {{testing::directory("dir", 0500), testing::file("dir/old", "x"), testing::file("gone", "x")},
       {testing::whiteout("gone"), testing::opaque("dir"), testing::file("dir/new", "y")}});
  ASSERT_EQ(ensure_as_nobody(reference, home_, dir_.write("subids", "")), 0);
  const std::string root = root_of_disk();
  EXPECT_EQ(base::list_directory(root), std::vector<std::string>{"dir"});
  EXPECT_EQ(base::list_directory(root + "/dir"), std::vector<std::string>{"new"});
  struct stat info {};
  ASSERT_EQ(::stat((root + "/dir/new").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 0U);
}

TEST_F(OrdinaryUserTest, OwnersAreKeptAndWhatOnlyTheyMayReadIsCountedToo) {
  FCVM_REQUIRE(user_ids);
  TarEntry home = testing::directory("home/app", 0700);
  TarEntry etc = testing::directory("etc", 0700);
  TarEntry passwd = testing::file("etc/passwd", "app:x:1000:1000::/home/app:/bin/sh\n", 0600);
  for (TarEntry* entry : {&home, &etc, &passwd}) entry->uid = entry->gid = 1000;
  std::vector<TarEntry> lower{testing::directory("home"), home, etc, passwd,
                              testing::file("home/gone", "x")};
  // More than the spare inodes of a disk, more than the spare blocks.
  for (int i = 0; i < 400; ++i) {
    TarEntry file = testing::file(base::cat("home/app/f", i), std::string(200'000, 'f'));
    file.uid = file.gid = 1000;
    lower.push_back(std::move(file));
  }
  TarEntry program = testing::file("program", "x", 04755);
  program.uid = 33;
  const std::string reference =
      archive({lower, {testing::whiteout("home/gone"), program, testing::whiteout("home/app/f0")}});
  ASSERT_EQ(ensure_as_nobody(reference, home_, dir_.write("subids", "65534:300000:65536\n")), 0);
  const ImageStore theirs(storage::DataDirectory(home_ + "/data"));
  EXPECT_EQ(theirs.list().at(0).meta.passwd, passwd.content);
  const std::string root = root_of_disk();
  EXPECT_EQ(base::list_directory(root + "/home"), std::vector<std::string>{"app"});
  EXPECT_EQ(base::list_directory(root + "/home/app").size(), 399U);
  struct stat info {};
  ASSERT_EQ(::stat((root + "/home/app/f7").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 1000U);
  EXPECT_EQ(info.st_gid, 1000U);
  ASSERT_EQ(::stat((root + "/home/app").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0700U);
  ASSERT_EQ(::stat((root + "/program").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 33U);
  EXPECT_EQ(info.st_mode & 07777U, 04755U);
}

TEST_F(OrdinaryUserTest, LimitsHoldForWhatOnlyOthersMayRead) {
  FCVM_REQUIRE(user_ids);
  TarEntry hidden = testing::directory("hidden", 0700);
  hidden.uid = 1000;
  std::string path = "hidden/";
  for (int i = 0; i < 600; ++i) path += "d/";
  const std::string reference = archive({{hidden, testing::file(path + "f", "x")}});
  EXPECT_EQ(ensure_as_nobody(reference, home_, dir_.write("subids", "65534:300000:65536\n")), 1);
  EXPECT_TRUE(base::list_directory(home_ + "/data/images").empty());
}

}  // namespace
}  // namespace image
