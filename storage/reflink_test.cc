#include "storage/reflink.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/error.h"
#include "base/files.h"
#include "base/mount.h"
#include "storage/data_directory.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace storage {
namespace {

// 64 MiB with 4 KiB of data at each end.
std::string make_sparse_file(const tests::TempDir& dir) {
  const std::string path = dir / "source";
  const base::Fd fd = base::open_file(path, O_RDWR | O_CREAT, 0600);
  const std::string data(4096, 'd');
  EXPECT_EQ(::pwrite(fd.get(), data.data(), data.size(), 0), 4096);
  EXPECT_EQ(::pwrite(fd.get(), data.data(), data.size(), (64 << 20) - 4096), 4096);
  ::fsync(fd.get());
  return path;
}

TEST(ReflinkTest, HolesOfTheSourceStayHolesInTheCopy) {
  tests::TempDir dir;
  const std::string source = make_sparse_file(dir);
  const std::string copy = dir / "copy";
  reflink_or_copy(source, copy);
  EXPECT_EQ(base::read_file(copy, 128 << 20), base::read_file(source, 128 << 20));
  EXPECT_LE(allocated_bytes(copy), 64U << 10);
}

TEST(ReflinkTest, EmptyFileIsCopied) {
  tests::TempDir dir;
  const std::string source = dir.write("source", "");
  reflink_or_copy(source, dir / "copy");
  EXPECT_EQ(base::read_file(dir / "copy"), "");
}

TEST(ReflinkTest, FileThatEndsInAHoleKeepsItsLength) {
  tests::TempDir dir;
  const std::string source = dir.write("source", "x");
  ASSERT_EQ(::truncate(source.c_str(), 1 << 20), 0);
  reflink_or_copy(source, dir / "copy");
  EXPECT_EQ(base::read_file(dir / "copy"), base::read_file(source));
}

TEST(ReflinkTest, ExistingDestinationIsLeftAlone) {
  tests::TempDir dir;
  const std::string source = dir.write("source", "new");
  const std::string destination = dir.write("destination", "old");
  EXPECT_THROW(reflink_or_copy(source, destination), base::Error);
  EXPECT_EQ(base::read_file(destination), "old");
}

TEST(ReflinkTest, DirectoryIsRefusedAndNothingIsLeft) {
  tests::TempDir dir;
  EXPECT_THROW(reflink_or_copy(dir.path(), dir / "copy"), base::Error);
  EXPECT_FALSE(base::path_exists(dir / "copy"));
}

TEST(ReflinkRootTest, FullDiskLeavesNothing) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const std::string full = dir / "full";
  base::make_directories(full);
  base::mount_fs("tmpfs", full, "tmpfs", 0, "size=64k");
  const base::MountGuard mounted(full);
  const std::string source = dir.write("source", std::string(1 << 20, 'x'));
  try {
    reflink_or_copy(source, full + "/copy");
    FAIL() << "a full disk was not noticed";
  } catch (const base::Error& error) {
    EXPECT_EQ(error.errnum(), ENOSPC) << error.what();
  }
  EXPECT_TRUE(base::list_directory(full).empty());
}

TEST(ReflinkRootTest, FileSystemsAreToldApartByTrying) {
  FCVM_REQUIRE(root);
  tests::TempDir dir;
  const std::string plain = dir / "plain";
  base::make_directories(plain);
  base::mount_fs("tmpfs", plain, "tmpfs", 0);
  const base::MountGuard mounted(plain);
  EXPECT_FALSE(supports_reflink(plain));
  EXPECT_TRUE(base::list_directory(plain).empty());

  const DataDirectory data(dir / "data");
  const auto kind = prepare_data_directory(data, {1ULL << 30});
  EXPECT_NE(kind, DataDirectoryKind::kPlain);
  EXPECT_TRUE(supports_reflink(data.root()));
  base::write_file(data.state() + "/a", std::string(1 << 20, 'a'));
  EXPECT_EQ(reflink_or_copy(data.state() + "/a", data.state() + "/b"), CopyMethod::kReflink);
  close_data_directory(data);
  base::remove_tree(data.run());
  base::remove_tree(data.run() + ".lock");
}

}  // namespace
}  // namespace storage
