#include "storage/sparse_copy.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace storage {
namespace {

constexpr off_t kLength = 64 << 20;

struct SparseCopyTest : ::testing::Test {
  base::Fd make(const std::string& name) {
    return base::open_file(directory / name, O_RDWR | O_CREAT | O_EXCL, 0600);
  }
  static void put(const base::Fd& file, off_t offset, const std::string& bytes) {
    ASSERT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), offset),
              static_cast<ssize_t>(bytes.size()));
  }
  static std::uint64_t allocated(const base::Fd& file) {
    struct stat info {};
    EXPECT_EQ(::fstat(file.get(), &info), 0);
    return static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  tests::TempDir directory;
};

TEST_F(SparseCopyTest, CopyIsEqualAndPagesOfZeroesAreHoles) {
  const base::Fd source = make("source");
  ASSERT_EQ(::ftruncate(source.get(), kLength), 0);
  put(source, 5000, "early");
  put(source, 3 << 20, std::string(1 << 20, '\0'));
  put(source, (3 << 20) + 70'000, std::string(9000, 'x'));
  put(source, kLength - 3, "end");
  const base::Fd copy = make("copy");
  const std::uint64_t written = copy_sparse(source, copy);
  EXPECT_EQ(base::read_file(directory / "copy", 1U << 30),
            base::read_file(directory / "source", 1U << 30));
  EXPECT_LE(written, 6U * 4096);
  EXPECT_LE(allocated(copy), 256U << 10);
  EXPECT_GE(allocated(source), 1U << 20);
}

TEST_F(SparseCopyTest, EmptyAndOddLengthsAreCopied) {
  for (const off_t length : {off_t{0}, off_t{1}, off_t{65536}, off_t{100'001}}) {
    const std::string name = base::cat("f", length);
    const base::Fd source = make(name);
    put(source, 0, std::string(static_cast<std::size_t>(length), 'q'));
    const base::Fd copy = make(name + "c");
    EXPECT_EQ(copy_sparse(source, copy), static_cast<std::uint64_t>(length));
    EXPECT_EQ(base::read_file(directory / (name + "c")),
              std::string(static_cast<std::size_t>(length), 'q'));
    EXPECT_EQ(content_digest(source), content_digest(copy));
  }
}

TEST_F(SparseCopyTest, DigestSeesContentAndLengthButNotHowHolesLie) {
  const base::Fd sparse = make("sparse");
  ASSERT_EQ(::ftruncate(sparse.get(), kLength), 0);
  put(sparse, 8 << 20, "data");
  const base::Fd dense = make("dense");
  put(dense, 0, std::string(kLength, '\0'));
  put(dense, 8 << 20, "data");
  const std::string digest = content_digest(sparse);
  EXPECT_EQ(digest, content_digest(dense));

  put(dense, (8 << 20) + 1, "A");
  EXPECT_NE(digest, content_digest(dense));
  put(dense, 8 << 20, "data");
  EXPECT_EQ(digest, content_digest(dense));
  ASSERT_EQ(::ftruncate(dense.get(), kLength + 1), 0);
  EXPECT_NE(digest, content_digest(dense));
  const base::Fd moved = make("moved");
  ASSERT_EQ(::ftruncate(moved.get(), kLength), 0);
  put(moved, 9 << 20, "data");
  EXPECT_NE(digest, content_digest(moved));
}

TEST_F(SparseCopyTest, StampSurvivesARenameOfTheFolderAndNoWrite) {
  base::make_directories(directory / "one");
  const base::Fd file = make("one/file");
  put(file, 0, "text");
  const std::string stamp = file_stamp(file);
  ASSERT_EQ(::rename((directory / "one").c_str(), (directory / "two").c_str()), 0);
  EXPECT_EQ(file_stamp(base::open_file(directory / "two/file", O_RDONLY)), stamp);
  put(file, 0, "texts");
  EXPECT_NE(file_stamp(file), stamp);
}

}  // namespace
}  // namespace storage
