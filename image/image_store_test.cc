#include "image/image_store_test_support.h"
#include "image/plain_layers.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "base/cancellation.h"
#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "base/process.h"
#include "image/plain_layers.h"
#include "image/test_archives.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

using testing::ArchiveOptions;
using testing::TarEntry;

// PATH without any program, as long as it lives.
class NoPrograms {
 public:
  NoPrograms() : path_(std::getenv("PATH")) { ::setenv("PATH", "/nonexistent", 1); }
  ~NoPrograms() { ::setenv("PATH", path_.c_str(), 1); }

 private:
  std::string path_;
};

TEST_F(ImageStoreTest, DockerArchiveBecomesADisk) {
  ArchiveOptions options;
  options.config = R"("Entrypoint":["/e"],"Cmd":["c"],"Env":["A=b"],"User":"1:2")";
  const ImageDisk disk = store_->ensure(archive({{testing::directory("etc"),
                                                  testing::file("etc/passwd", "root:x:0:0::/:\n"),
                                                  testing::file("etc/group", "root:x:0:\n"),
                                                  {"setuid", "s", '0', "", 04755, 1000, 1000}}},
                                                options));
  EXPECT_EQ(disk.digest.substr(0, 7), "sha256:");
  EXPECT_EQ(disk.digest, disk.meta.digest);
  EXPECT_EQ(disk.meta.config.entrypoint, std::vector<std::string>{"/e"});
  EXPECT_EQ(disk.meta.config.user, "1:2");
  EXPECT_EQ(disk.meta.passwd, "root:x:0:0::/:\n");
  EXPECT_EQ(disk.meta.group, "root:x:0:\n");
  EXPECT_EQ(disk.meta.layers, std::vector<std::string>{"layers/0"});
  EXPECT_GT(disk.disk_bytes, 0U);
  expect_no_leftovers(1);

  const std::string root = mount_root(disk);
  EXPECT_EQ(base::read_file(root + "/etc/passwd"), "root:x:0:0::/:\n");
  struct stat info {};
  ASSERT_EQ(::stat((root + "/setuid").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 04755U);
  EXPECT_EQ(info.st_uid, 1000U);
}

TEST_F(ImageStoreTest, OciArchiveAndDirectoryBecomeTheSameDisk) {
  dir_.write("oci.tar",
             testing::make_oci_archive({testing::make_tar({testing::file("a", "content")})}));
  const ImageDisk from_archive = store_->ensure("oci-archive:" + (dir_ / "oci.tar").string());
  base::make_directories(dir_ / "layout");
  base::SpawnOptions tar;
  tar.argv = {"tar", "-xf", dir_ / "oci.tar", "-C", dir_ / "layout"};
  base::run_command_checked(tar);
  const ImageDisk from_directory = store_->ensure("oci:" + (dir_ / "layout").string());
  EXPECT_EQ(from_directory.disk_path, from_archive.disk_path);
  EXPECT_EQ(from_directory.meta.reference, "oci:" + (dir_ / "layout").string());
  expect_no_leftovers(1);
}

TEST_F(ImageStoreTest, DirectoryTransportIsRead) {
  const std::string source = archive({{testing::file("a", "content")}});
  base::SpawnOptions skopeo;
  skopeo.argv = {
      "skopeo", "copy", "--quiet", "--insecure-policy", source, "dir:" + (dir_ / "plain").string()};
  base::run_command_checked(skopeo);
  const ImageDisk disk = store_->ensure("dir:" + (dir_ / "plain").string());
  EXPECT_EQ(base::read_file(mount_root(disk) + "/a"), "content");
}

TEST_F(ImageStoreTest, UnchangedArchiveRunsNoProgram) {
  const std::string reference = archive({{testing::file("a", "1")}});
  const ImageDisk first = store_->ensure(reference);
  const NoPrograms no_programs;
  EXPECT_EQ(store_->ensure(reference).disk_path, first.disk_path);
  EXPECT_EQ(store_->list().size(), 1U);
  EXPECT_EQ(store_->get(first.digest).disk_path, first.disk_path);
  EXPECT_THROW(store_->get("sha256:" + std::string(64, '0')), base::Error);
  EXPECT_THROW(store_->get("../../etc"), base::Error);
}

TEST_F(ImageStoreTest, ChangedArchiveIsReadAgain) {
  const std::string reference = archive({{testing::file("a", "1")}});
  const ImageDisk first = store_->ensure(reference);
  dir_.write("archive-0.tar",
             testing::make_docker_archive({testing::make_tar({testing::file("a", "2")})}));
  EXPECT_NE(store_->ensure(reference).digest, first.digest);
  expect_no_leftovers(2);
}

TEST_F(ImageStoreTest, DiskThatWasRemovedIsMadeAgain) {
  const std::string reference = archive({{testing::file("a", "1")}});
  const ImageDisk first = store_->ensure(reference);
  base::remove_tree(first.disk_path.substr(0, first.disk_path.rfind('/')));
  EXPECT_EQ(store_->ensure(reference).digest, first.digest);
  EXPECT_TRUE(base::path_exists(first.disk_path));
}

TEST_F(ImageStoreTest, ImageThatIsUsedAtTheLastMomentStays) {
  ImageDisk disk = store_->ensure(archive({{testing::file("a", "1")}}));
  const std::string digest = disk.digest;
  const std::string path = disk.disk_path;
  store_->tag(digest, "docker.io/library/kept:1");
  int asked = 0;
  disk.in_use.reset();
  EXPECT_FALSE(store_->remove(digest, [&] { return ++asked > 0; }));
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(base::path_exists(path));
  EXPECT_TRUE(store_->find("kept:1"));
  EXPECT_TRUE(store_->remove(digest, [] { return false; }));
  EXPECT_FALSE(base::path_exists(path));
}

TEST_F(ImageStoreTest, SeveralAtOnceBuildItOnce) {
  const std::string reference = archive({{testing::file("a", std::string(1 << 20, 'a'))}});
  std::vector<pid_t> children;
  std::vector<int> built;
  int pipe_fds[2];
  ASSERT_EQ(::pipe2(pipe_fds, O_CLOEXEC), 0);
  for (int i = 0; i < 4; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      int status = 1;
      try {
        EnsureOptions options;
        options.progress = [&](const Progress& progress) {
          if (progress.stage == "making the image disk") {
            [[maybe_unused]] const ssize_t n = ::write(pipe_fds[1], "x", 1);
          }
        };
        store_->ensure(reference, options);
        status = 0;
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s\n", error.what());
      }
      ::_exit(status);
    }
    children.push_back(child);
  }
  ::close(pipe_fds[1]);
  for (const pid_t child : children) {
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  char marks[8];
  EXPECT_EQ(::read(pipe_fds[0], marks, sizeof marks), 1);
  ::close(pipe_fds[0]);
  expect_no_leftovers(1);
}

TEST_F(ImageStoreTest, KilledBuilderIsSweptByTheNext) {
  const std::string reference = archive({{testing::file("a", "1")}});
  for (const char* stage : {"reading image", "unpacking image", "making the image disk"}) {
    const pid_t child = ::fork();
    if (child == 0) {
      EnsureOptions options;
      options.progress = [&](const Progress& progress) {
        if (progress.stage == stage) ::kill(::getpid(), SIGKILL);
      };
      try {
        store_->ensure(reference, options);
      } catch (...) {
      }
      ::_exit(0);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << stage;
  }
  EXPECT_FALSE(base::list_directory(data_->images()).empty());
  store_->ensure(reference);
  expect_no_leftovers(1);
}

TEST_F(ImageStoreTest, CancelledBuildLeavesNothing) {
  base::Cancellation cancellation;
  EnsureOptions options;
  options.cancellation = &cancellation;
  options.progress = [&](const Progress& progress) {
    if (progress.stage == "unpacking image") cancellation.cancel();
  };
  EXPECT_THROW(store_->ensure(archive({{testing::file("a", "1")}}), options), base::Cancelled);
  expect_no_leftovers(0);
}

TEST_F(ImageStoreTest, WhiteoutsAndOpaqueDirectoriesDeleteAsInPodman) {
  const ImageDisk disk = store_->ensure(archive({
      {testing::directory("etc"), testing::file("etc/passwd", "old"), testing::file("gone", "x"),
       testing::directory("dir"), testing::file("dir/old", "x")},
      {testing::whiteout("etc/passwd"), testing::whiteout("gone"), testing::directory("dir"),
       testing::opaque("dir"), testing::file("dir/new", "y")},
  }));
  EXPECT_EQ(disk.meta.passwd, "");
  EXPECT_EQ(disk.meta.layers.size(), 2U);
  const std::string root = mount_root(disk);
  EXPECT_EQ(base::list_directory(root), (std::vector<std::string>{"dir", "etc"}));
  EXPECT_TRUE(base::list_directory(root + "/etc").empty());
  EXPECT_EQ(base::list_directory(root + "/dir"), std::vector<std::string>{"new"});
}

TEST_F(ImageStoreTest, ImageWithManyLayersCanBeMounted) {
  std::vector<std::vector<TarEntry>> layers;
  layers.reserve(32);
  for (int i = 0; i < 32; ++i) {
    layers.push_back({testing::file(base::cat("f", i), base::cat(i))});
  }
  const ImageDisk disk = store_->ensure(archive(layers));
  std::size_t options = 0;
  for (const std::string& layer : disk.meta.layers) options += layer.size() + 6;
  // mount(2) takes 4096 bytes of options; engines make 127 layers at most.
  EXPECT_LT(options * 127 / 32, 3500U);
}

TEST_F(ImageStoreTest, ImageWithoutLayersHasAnEmptyRoot) {
  const ImageDisk disk = store_->ensure(archive({}));
  EXPECT_EQ(disk.meta.layers.size(), 1U);
  EXPECT_TRUE(base::list_directory(mount_root(disk)).empty());
}

TEST_F(ImageStoreTest, LinksAndDevicesAreKept) {
  const ImageDisk disk = store_->ensure(archive({{
      testing::file("bin/tool", "tool", 0755),
      testing::hard_link("bin/same", "bin/tool"),
      testing::symlink("bin/link", "/etc/absolute"),
      {"dev/null", "", '3', "", 0666, 0, 0, 1, 3},
      {"run/fifo", "", '6', "", 0600},
  }}));
  const std::string root = mount_root(disk);
  struct stat tool {};
  struct stat same {};
  struct stat device {};
  ASSERT_EQ(::stat((root + "/bin/tool").c_str(), &tool), 0);
  ASSERT_EQ(::stat((root + "/bin/same").c_str(), &same), 0);
  EXPECT_EQ(tool.st_ino, same.st_ino);
  ASSERT_EQ(::lstat((root + "/dev/null").c_str(), &device), 0);
  EXPECT_TRUE(S_ISCHR(device.st_mode));
  char target[64] = {};
  EXPECT_GT(::readlink((root + "/bin/link").c_str(), target, sizeof target), 0);
  EXPECT_STREQ(target, "/etc/absolute");
}

TEST_F(ImageStoreTest, PathsOutOfTheRootEndUpInside) {
  const std::string escape = dir_ / "escaped";
  const ImageDisk disk = store_->ensure(archive({{
      testing::file("../../../../../../../../../../" + escape.substr(1), "dots"),
      testing::file(escape + "-absolute", "absolute"),
  }}));
  EXPECT_FALSE(base::path_exists(escape));
  EXPECT_FALSE(base::path_exists(escape + "-absolute"));
  const std::string root = mount_root(disk);
  EXPECT_EQ(base::read_file(root + escape), "dots");
  EXPECT_EQ(base::read_file(root + escape + "-absolute"), "absolute");
}

TEST_F(ImageStoreTest, HardLinkOutOfTheRootIsRefused) {
  const std::string outside = dir_.write("outside", "secret");
  refusal(archive({{testing::hard_link("stolen", "../../../../../../../../.." + outside)}}));
  refusal(archive({{testing::hard_link("stolen", outside)}}));
}

TEST_F(ImageStoreTest, WritingThroughALinkOutOfTheRootIsRefused) {
  const std::string outside = (dir_ / "").string();
  refusal(archive({{testing::symlink("way", outside), testing::file("way/escaped", "x")}}));
  EXPECT_FALSE(base::path_exists(dir_ / "escaped"));
}

TEST_F(ImageStoreTest, LinkInALowerLayerLeadsNowhereFromTheUpper) {
  store_->ensure(
      archive({{testing::symlink("way", dir_.path())}, {testing::file("way/escaped", "x")}}));
  EXPECT_FALSE(base::path_exists(dir_ / "escaped"));
}

TEST_F(ImageStoreTest, PasswdThatLinksToTheHostIsNotRead) {
  const ImageDisk disk = store_->ensure(
      archive({{testing::directory("etc"), testing::symlink("etc/passwd", "/etc/hostname"),
                testing::symlink("etc/group", "../../../../../../../../etc/hostname")}}));
  EXPECT_EQ(disk.meta.passwd, "");
  EXPECT_EQ(disk.meta.group, "");
}

TEST_F(ImageStoreTest, OverlongPasswdIsRefused) {
  refusal(archive({{testing::file("etc/passwd", std::string(2 << 20, 'x'))}}));
}

TEST_F(ImageStoreTest, WhiteoutOfTheRootIsRefused) {
  refusal(archive({{testing::file(".wh..", "")}}));
  refusal(archive({{testing::file("a/.wh...", "")}}));
}

TEST_F(ImageStoreTest, LargeFileIsStoppedAtTheLimit) {
  EnsureOptions options;
  options.max_unpacked_bytes = 16 << 20;
  const std::string bomb(24 << 20, '\0');
  EXPECT_NE(refusal(archive({{testing::file("bomb", bomb)}}), options).find("16 MiB"),
            std::string::npos);
  ArchiveOptions compressed;
  compressed.compressed = true;
  EXPECT_NE(refusal(archive({{testing::file("bomb", bomb)}}, compressed), options).find("16 MiB"),
            std::string::npos);
}

TEST_F(ImageStoreTest, ManySmallFilesAreStoppedAtTheLimit) {
  std::vector<TarEntry> entries;
  entries.reserve(2000);
  for (int i = 0; i < 2000; ++i) entries.push_back(testing::file(base::cat("f", i), ""));
  EnsureOptions options;
  options.max_entries = 500;
  EXPECT_NE(refusal(archive({entries}), options).find("more than 500 files"), std::string::npos);
}

TEST_F(ImageStoreTest, ManyLayersAreStoppedAtTheLimit) {
  std::vector<std::vector<TarEntry>> layers;
  layers.reserve(6);
  for (int i = 0; i < 6; ++i) {
    layers.push_back({testing::file(base::cat("f", i), std::string(4 << 20, 'x'))});
  }
  EnsureOptions options;
  options.max_unpacked_bytes = 16 << 20;
  EXPECT_NE(refusal(archive(layers), options).find("more than 16 MiB"), std::string::npos);
}

TEST_F(ImageStoreTest, DirectoriesAsDeepAsPathsAllowAreRefused) {
  std::string path;
  for (int i = 0; i < 1500; ++i) path += "d/";
  EXPECT_NE(refusal(archive({{testing::file(path + "f", "x")}})).find("nested"), std::string::npos);
}

TEST_F(ImageStoreTest, DamagedArchivesAreRefused) {
  const std::string good =
      testing::make_docker_archive({testing::make_tar({testing::file("a", "1")})});
  const std::string base = "docker-archive:" + dir_.path().string() + "/";
  dir_.write("cut.tar", good.substr(0, good.size() / 2));
  dir_.write("cut-layer.tar", good.substr(0, 512 + 100));
  dir_.write("text.tar", "this is not a tar\n");
  dir_.write("empty.tar", "");
  dir_.write("json.tar", testing::make_tar({testing::file("manifest.json", "[{\"Config\":1}]")}));
  for (const char* name : {"cut.tar", "cut-layer.tar", "text.tar", "empty.tar", "json.tar"}) {
    refusal(base + name);
  }
  EXPECT_NE(refusal(base + "missing.tar").find("No such file"), std::string::npos);
  refusal("oci:" + dir_.path().string());
  refusal("oci-archive:" + (dir_ / "text.tar").string());
}

TEST_F(ImageStoreTest, WrongDigestsAreRefused) {
  ArchiveOptions wrong;
  wrong.wrong_diff_id = true;
  EXPECT_NE(refusal(archive({{testing::file("a", "1")}}, wrong)).find("igest"), std::string::npos);
  ArchiveOptions missing;
  missing.layers_missing = true;
  refusal(archive({{testing::file("a", "1")}}, missing));

  std::string altered =
      testing::make_oci_archive({testing::make_tar({testing::file("a", "marker")})});
  altered.replace(altered.find("marker"), 6, "MARKER");
  dir_.write("altered.tar", altered);
  refusal("oci-archive:" + (dir_ / "altered.tar").string());
}

// Reads the image as PlainLayers does, which has to understand it; its error.
std::string write_plain(const std::string& text, const std::string& directory,
                        const PlainLayers::Options& options = {}) {
  const auto plain = PlainLayers::find(parse_reference(text));
  if (!plain) return "not plain";
  const auto reference = plain->write(directory, options);
  return reference ? "" : "not written";
}

TEST_F(ImageStoreTest, CompressedLayersBecomeTheSameDisk) {
  const std::vector<std::string> layers{
      testing::make_tar({testing::file("a", "below"), testing::file("gone", "x")}),
      testing::make_tar({testing::file("a", "above"), testing::whiteout("gone")})};
  ArchiveOptions gzip;
  gzip.compressed = true;
  dir_.write("gzip.tar", testing::make_oci_archive(layers, gzip));
  dir_.write("plain.tar", testing::make_oci_archive(layers));
  const std::string reference = "oci-archive:" + (dir_ / "gzip.tar").string();
  EXPECT_EQ(write_plain(reference, dir_ / "layout"), "");
  const ImageDisk disk = store_->ensure(reference);
  EXPECT_EQ(store_->ensure("oci-archive:" + (dir_ / "plain.tar").string()).digest, disk.digest);
  expect_no_leftovers(1);
  const std::string root = mount_root(disk);
  EXPECT_EQ(base::read_file(root + "/a"), "above");
  EXPECT_FALSE(base::path_exists(root + "/gone"));
}

TEST_F(ImageStoreTest, CompressedLayersThatAreNotWhatTheImageSaysAreRefused) {
  ArchiveOptions gzip;
  gzip.compressed = true;
  gzip.wrong_diff_id = true;
  const std::vector<std::string> layers{testing::make_tar({testing::file("a", "1")})};
  dir_.write("wrong.tar", testing::make_oci_archive(layers, gzip));
  const std::string wrong = "oci-archive:" + (dir_ / "wrong.tar").string();
  EXPECT_EQ(write_plain(wrong, dir_ / "wrong"), "");
  EXPECT_NE(refusal(wrong).find("igest"), std::string::npos);

  gzip.wrong_diff_id = false;
  std::string damaged = testing::make_oci_archive(layers, gzip);
  damaged[damaged.find("\x1f\x8b") + 12] ^= 0x55;
  dir_.write("damaged.tar", damaged);
  EXPECT_EQ(write_plain("oci-archive:" + (dir_ / "damaged.tar").string(), dir_ / "damaged"),
            "not written");
  refusal("oci-archive:" + (dir_ / "damaged.tar").string());
}

TEST_F(ImageStoreTest, CompressedLayersAreBoundedAndCanBeGivenUp) {
  ArchiveOptions gzip;
  gzip.compressed = true;
  dir_.write("bomb.tar",
             testing::make_oci_archive(
                 {testing::make_tar({testing::file("a", std::string(8 << 20, '0'))})}, gzip));
  const std::string bomb = "oci-archive:" + (dir_ / "bomb.tar").string();
  PlainLayers::Options options;
  options.max_file_bytes = 1 << 20;
  EXPECT_EQ(write_plain(bomb, dir_ / "bomb", options), "not written");
  EnsureOptions small;
  small.max_unpacked_bytes = 1 << 20;
  EXPECT_NE(refusal(bomb, small).find("1 MiB, the limit"), std::string::npos);

  options = {};
  options.tick = [] { return std::optional<std::string>("enough"); };
  EXPECT_THROW(write_plain(bomb, dir_ / "refused", options), base::Error);
  base::Cancellation cancelled;
  cancelled.cancel();
  options = {};
  options.cancellation = &cancelled;
  EXPECT_THROW(write_plain(bomb, dir_ / "cancelled", options), base::Cancelled);
}

TEST_F(ImageStoreTest, ImageForAnotherMachineIsRefused) {
  ArchiveOptions options;
  options.architecture = "s390x";
  EXPECT_NE(refusal(archive({{testing::file("a", "1")}}, options)).find("s390x"),
            std::string::npos);
  options.architecture = "amd64";
  options.os = "windows";
  EXPECT_NE(refusal(archive({{testing::file("a", "1")}}, options)).find("windows"),
            std::string::npos);
}

TEST_F(ImageStoreTest, MissingProgramIsNamedWithItsPackage) {
  const std::string reference = archive({{testing::file("a", "1")}});
  const NoPrograms no_programs;
  try {
    store_->ensure(reference);
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_NE(error.hint().find("skopeo"), std::string::npos) << error.what();
  }
}

TEST_F(ImageStoreTest, FullDataDirectoryIsSaidAndNothingIsLeft) {
  const std::string small = dir_ / "small";
  base::make_directories(small);
  base::mount_fs("tmpfs", small, "tmpfs", 0, "size=32m");
  mounts_.emplace_back(small);
  const storage::DataDirectory data(small);
  for (const std::string& folder : {data.images(), data.cache()}) base::make_directories(folder);
  ImageStore store(data);
  try {
    store.ensure(archive({{testing::file("a", std::string(40 << 20, 'x'))}}));
    FAIL();
  } catch (const base::Error& error) {
    // Noticed by the watch over free space or by skopeo, whichever is first.
    const std::string text = error.what();
    EXPECT_TRUE(text.find("are left") != std::string::npos ||
                text.find("no space left") != std::string::npos)
        << text;
  }
  EXPECT_TRUE(base::list_directory(data.images()).empty());
}

}  // namespace
}  // namespace image
