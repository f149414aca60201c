#include "wire/tree.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace wire {
namespace {

using Kind = TarEntry::Kind;

class TreeTest : public testing::Test {
 protected:
  void SetUp() override {
    base::make_directories(dir_ / "src/d/sub");
    base::write_file(dir_ / "src/f", "file\n", 0640);
    base::write_file(dir_ / "src/d/in", "inner\n");
    ASSERT_EQ(::symlink("in", (dir_ / "src/d/link").c_str()), 0);
    ASSERT_EQ(::link((dir_ / "src/d/in").c_str(), (dir_ / "src/d/sub/hard").c_str()), 0);
    ASSERT_EQ(::symlink("d", (dir_ / "src/ld").c_str()), 0);
    base::make_directories(dir_ / "out");
  }

  static std::string packed(const std::string& path, const TreeRoot& root = TreeRoot()) {
    std::string archive;
    send_tree(root, path, [&](std::string_view bytes) { archive += bytes; });
    return archive;
  }
  static void unpack(const std::string& archive, const std::string& to, ReceiveOptions options = {},
                     const TreeRoot& root = TreeRoot()) {
    options.owner = {::geteuid(), ::getegid()};
    receive_tree(
        root, to,
        [&archive, at = std::size_t{0}](char* buffer, std::size_t size) mutable {
          const std::size_t n = std::min(size, archive.size() - at);
          std::copy_n(archive.begin() + static_cast<std::ptrdiff_t>(at), n, buffer);
          at += n;
          return n;
        },
        options);
  }
  void copy(const std::string& from, const std::string& to, bool overwrite = false) {
    ReceiveOptions options;
    options.overwrite = overwrite;
    unpack(packed(dir_ / from), dir_ / to, options);
  }
  // As from a guest: the name is ours.
  void unpack_as(const std::string& name, const std::string& archive, const std::string& to,
                 bool overwrite = false) {
    ReceiveOptions options;
    options.overwrite = overwrite;
    options.name = name;
    unpack(archive, dir_ / to, options);
  }
  std::string refusal(const std::string& from, const std::string& to) {
    try {
      copy(from, to);
    } catch (const base::Error& error) {
      return error.what();
    }
    return "";
  }
  std::string text(const std::string& path) {
    return base::try_read_file(dir_ / path).value_or("(none)");
  }
  bool exists(const std::string& path) { return base::path_exists(dir_ / path); }

  // An archive as a hostile guest makes one.
  static std::string made_of(const std::vector<TarEntry>& entries) {
    std::string archive;
    TarWriter writer([&](std::string_view bytes) { archive += bytes; });
    for (const auto& entry : entries) {
      writer.add(entry);
      if (entry.kind == Kind::kFile) writer.data(std::string(entry.size, 'x'));
    }
    writer.finish();
    return archive;
  }
  static TarEntry entry(Kind kind, const std::string& path, const std::string& target = "") {
    TarEntry entry;
    entry.kind = kind;
    entry.path = path;
    entry.link_target = target;
    entry.mode = 0755;
    entry.size = kind == Kind::kFile ? 4 : 0;
    return entry;
  }
  void expect_refused(const std::vector<TarEntry>& entries, const std::string& to) {
    EXPECT_THROW(unpack(made_of(entries), dir_ / to), base::Error);
  }

  tests::TempDir dir_;
};

TEST_F(TreeTest, FileGoesIntoADirectoryOrUnderItsNewName) {
  copy("src/f", "out");
  EXPECT_EQ(text("out/f"), "file\n");
  copy("src/f", "out/");
  copy("src/f", "out/g");
  EXPECT_EQ(text("out/g"), "file\n");
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "out/g").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0640U);
  copy("src/d/in", "out/g");
  EXPECT_EQ(text("out/g"), "inner\n");
}

TEST_F(TreeTest, DirectoryGoesIntoADirectoryOrBecomesOne) {
  copy("src/d", "out");
  EXPECT_EQ(text("out/d/in"), "inner\n");
  copy("src/d", "fresh");
  EXPECT_EQ(text("fresh/in"), "inner\n");
  EXPECT_EQ(text("fresh/link"), "inner\n");
  struct stat one {};
  struct stat other {};
  ASSERT_EQ(::stat((dir_ / "fresh/in").c_str(), &one), 0);
  ASSERT_EQ(::stat((dir_ / "fresh/sub/hard").c_str(), &other), 0);
  EXPECT_EQ(one.st_ino, other.st_ino);
  copy("src/d/.", "out");
  EXPECT_EQ(text("out/in"), "inner\n");
  copy("src/d/.", "second");
  EXPECT_EQ(text("second/in"), "inner\n");
  copy("src/ld", "out/");
  EXPECT_FALSE(exists("out/ld"));
}

TEST_F(TreeTest, LinkAtTheDestinationIsFollowed) {
  ASSERT_EQ(::symlink("out", (dir_ / "lout").c_str()), 0);
  copy("src/f", "lout");
  EXPECT_EQ(text("out/f"), "file\n");
  ASSERT_EQ(::symlink("out/missing", (dir_ / "dangling").c_str()), 0);
  copy("src/f", "dangling");
  EXPECT_EQ(text("out/missing"), "file\n");
}

TEST_F(TreeTest, WhatDoesNotFitIsRefused) {
  EXPECT_NE(refusal("src/nothing", "out"), "");
  EXPECT_NE(refusal("src/f", "nowhere/x"), "");
  EXPECT_NE(refusal("src/f", "nowhere/"), "");
  EXPECT_NE(refusal("src/f/.", "out"), "");
  EXPECT_NE(refusal("src/f", "src/d/in/"), "");
  EXPECT_EQ(refusal("src/d", "src/f"),
            "the destination must be a directory when copying a directory");
  EXPECT_EQ(text("src/f"), "file\n");
}

TEST_F(TreeTest, DirectoryReplacesAFileOnlyWhenToldTo) {
  base::make_directories(dir_ / "x/in");
  EXPECT_NE(refusal("x/.", "src/d"), "");
  copy("x/.", "src/d", true);
  EXPECT_TRUE(base::is_directory(dir_ / "src/d/in"));
  base::write_file(dir_ / "y", "now a file\n");
  base::make_directories(dir_ / "z");
  ASSERT_EQ(::rename((dir_ / "y").c_str(), (dir_ / "z/in").c_str()), 0);
  EXPECT_NE(refusal("z/.", "src/d"), "");
  copy("z/.", "src/d", true);
  EXPECT_EQ(text("src/d/in"), "now a file\n");
}

TEST_F(TreeTest, ArchiveThatLeadsOutIsRefused) {
  const TarEntry top = entry(Kind::kDirectory, "t/");
  expect_refused({top, entry(Kind::kFile, "t/../../evil")}, "out");
  expect_refused({entry(Kind::kFile, "../evil")}, "out");
  expect_refused({entry(Kind::kDirectory, "..")}, "out");
  expect_refused({top, entry(Kind::kSymlink, "t/l", dir_.path()), entry(Kind::kFile, "t/l/evil")},
                 "out");
  expect_refused({top, entry(Kind::kSymlink, "t/m", ".."), entry(Kind::kFile, "t/m/evil")}, "out");
  expect_refused({top, entry(Kind::kHardLink, "t/h", "../src/f")}, "out");
  expect_refused({top, entry(Kind::kHardLink, "t/h", dir_ / "src/f")}, "out");
  expect_refused(
      {top, entry(Kind::kSymlink, "t/n", dir_ / "src"), entry(Kind::kHardLink, "t/h", "t/n/f")},
      "out");
  EXPECT_FALSE(exists("evil"));
  EXPECT_FALSE(exists("out/evil"));
}

TEST_F(TreeTest, WhatWasNotAskedForIsRefused) {
  expect_refused({entry(Kind::kFile, "f"), entry(Kind::kFile, "more")}, "out/f");
  expect_refused({entry(Kind::kDirectory, "t/"), entry(Kind::kFile, "u/f")}, "out");
  expect_refused({entry(Kind::kFile, "a/b")}, "out");
  expect_refused({entry(Kind::kSymlink, "s", "/etc/passwd")}, "out/s");
  expect_refused({entry(Kind::kCharDevice, "null")}, "out/null");
  expect_refused({entry(Kind::kDirectory, "t/"), entry(Kind::kBlockDevice, "t/disk")}, "out");
  expect_refused({}, "out");
  EXPECT_FALSE(exists("out/more"));
}

TEST_F(TreeTest, ArchiveDoesNotChooseTheNameInTheDestination) {
  base::make_directories(dir_ / "out/.ssh");
  base::write_file(dir_ / "out/.ssh/keys", "mine\n");
  base::write_file(dir_ / "out/.bashrc", "mine\n");
  const auto file = [](const std::string& name) { return made_of({entry(Kind::kFile, name)}); };
  unpack_as("asked", file(".bashrc"), "out");
  EXPECT_EQ(text("out/asked"), "xxxx");
  EXPECT_EQ(text("out/.bashrc"), "mine\n");
  const std::string folder =
      made_of({entry(Kind::kDirectory, ".ssh/"), entry(Kind::kFile, ".ssh/keys")});
  unpack_as("data", folder, "out");
  EXPECT_EQ(text("out/data/keys"), "xxxx");
  EXPECT_EQ(text("out/.ssh/keys"), "mine\n");
  unpack_as("data", made_of({entry(Kind::kDirectory, "./"), entry(Kind::kFile, "./.ssh/keys")}),
            "out");
  EXPECT_EQ(text("out/data/.ssh/keys"), "xxxx");
  EXPECT_EQ(text("out/.ssh/keys"), "mine\n");
  EXPECT_THROW(unpack_as("", file(".bashrc"), "out"), base::Error);
  EXPECT_EQ(text("out/.bashrc"), "mine\n");
  // Where only what is in a directory was asked for its name plays no part.
  unpack_as("", made_of({entry(Kind::kDirectory, "t/"), entry(Kind::kFile, "t/in")}), "out");
  EXPECT_EQ(text("out/in"), "xxxx");
  // A link of ours in that place is replaced, or refused, and never followed.
  ASSERT_EQ(::symlink(".ssh", (dir_ / "out/link").c_str()), 0);
  EXPECT_THROW(unpack_as("link", folder, "out"), base::Error);
  EXPECT_EQ(text("out/.ssh/keys"), "mine\n");
}

TEST_F(TreeTest, OverwriteRemovesNoFolderTheUserDidNotName) {
  base::make_directories(dir_ / "out/Documents/deep");
  base::write_file(dir_ / "out/Documents/deep/file", "mine\n");
  base::make_directories(dir_ / "out/empty");
  const std::string forged = made_of({entry(Kind::kFile, "Documents")});
  unpack_as("out2", forged, "out", true);
  EXPECT_EQ(text("out/out2"), "xxxx");
  EXPECT_EQ(text("out/Documents/deep/file"), "mine\n");
  const std::string below = made_of({entry(Kind::kDirectory, "./"), entry(Kind::kFile, "./empty"),
                                     entry(Kind::kFile, "./Documents")});
  EXPECT_THROW(unpack_as("", below, "out", true), base::Error);
  EXPECT_EQ(text("out/empty"), "xxxx");
  EXPECT_EQ(text("out/Documents/deep/file"), "mine\n");
  const std::string link =
      made_of({entry(Kind::kDirectory, "./"), entry(Kind::kSymlink, "./Documents", "/")});
  EXPECT_THROW(unpack_as("", link, "out", true), base::Error);
  EXPECT_EQ(text("out/Documents/deep/file"), "mine\n");
  // The one that was named goes, if told so.
  EXPECT_THROW(unpack_as("Documents", forged, "out"), base::Error);
  EXPECT_EQ(text("out/Documents/deep/file"), "mine\n");
  unpack_as("Documents", forged, "out", true);
  EXPECT_EQ(text("out/Documents"), "xxxx");
}

TEST_F(TreeTest, NothingReplacesAFifoThatIsTheDestination) {
  ASSERT_EQ(::mkfifo((dir_ / "out/fifo").c_str(), 0600), 0);
  ASSERT_EQ(::symlink("fifo", (dir_ / "out/to-fifo").c_str()), 0);
  base::make_directories(dir_ / "fifo");
  const auto is_fifo = [this] {
    struct stat info {};
    return ::lstat((dir_ / "out/fifo").c_str(), &info) == 0 && S_ISFIFO(info.st_mode);
  };
  EXPECT_EQ(refusal("src/f", "out/fifo"),
            "the destination 'fifo' must be a directory or a regular file");
  EXPECT_EQ(refusal("src/f", "out/to-fifo"),
            "the destination 'fifo' must be a directory or a regular file");
  EXPECT_THROW(copy("src/d", "out/fifo", true), base::Error);
  EXPECT_THROW(copy("fifo", "out", true), base::Error);
  EXPECT_THROW(unpack_as("fifo", packed(dir_ / "src/f"), "out", true), base::Error);
  EXPECT_TRUE(is_fifo());
}

TEST_F(TreeTest, ArchiveIsReadToItsEnd) {
  for (const std::size_t piece : {std::size_t{512}, std::size_t{16384}}) {
    std::string archive = packed(dir_ / "src/f") + std::string(20 * 512, '\0');
    std::size_t at = 0;
    receive_tree(
        TreeRoot(), dir_ / "out",
        [&](char* buffer, std::size_t size) {
          const std::size_t n = std::min({size, piece, archive.size() - at});
          std::copy_n(archive.begin() + static_cast<std::ptrdiff_t>(at), n, buffer);
          at += n;
          return n;
        },
        ReceiveOptions{});
    EXPECT_EQ(at, archive.size());
  }
  // But not for ever.
  const std::string archive = packed(dir_ / "src/f");
  std::size_t at = 0;
  const auto endless = [&](char* buffer, std::size_t size) {
    if (at >= archive.size()) {
      at += size;
      EXPECT_LT(at, std::size_t{64} << 20);
      std::fill_n(buffer, size, '\0');
      return size;
    }
    const std::size_t n = std::min(size, archive.size() - at);
    std::copy_n(archive.begin() + static_cast<std::ptrdiff_t>(at), n, buffer);
    at += n;
    return n;
  };
  EXPECT_THROW(receive_tree(TreeRoot(), dir_ / "out", endless, ReceiveOptions{}), base::Error);
}

TEST_F(TreeTest, FoldersOfAnArchiveAreBounded) {
  std::string deep = "t";
  for (int i = 0; i < 600; ++i) deep += "/a";
  expect_refused({entry(Kind::kDirectory, "t/"), entry(Kind::kDirectory, deep)}, "out");
  EXPECT_FALSE(exists("out/t/a"));
  // The same one again and again costs nothing; different ones are counted by their bytes.
  std::vector<TarEntry> same(5000, entry(Kind::kDirectory, "t/again"));
  same.insert(same.begin(), entry(Kind::kDirectory, "t/"));
  same.back().mode = 0711;
  unpack(made_of(same), dir_ / "out");
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "out/t/again").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0711U);
  ReceiveOptions options;
  options.max_folder_bytes = 20'000;
  unpack(made_of(same), dir_ / "out", options);
  std::vector<TarEntry> many{entry(Kind::kDirectory, "t/")};
  for (int i = 0; i < 5; ++i) {
    many.push_back(entry(Kind::kDirectory, "t/" + std::string(200, 'n') + std::to_string(i)));
  }
  unpack(made_of(many), dir_ / "out", options);
  options.max_folder_bytes = 1000;
  EXPECT_THROW(unpack(made_of(many), dir_ / "out", options), base::Error);
}

TEST_F(TreeTest, FolderThatIsReplacedAndMadeAgainIsTheNewOne) {
  ReceiveOptions options;
  options.overwrite = true;
  options.trust_special = true;
  const std::string archive =
      made_of({entry(Kind::kDirectory, "t/"), entry(Kind::kDirectory, "t/d/"),
               entry(Kind::kFile, "t/d/old"), entry(Kind::kFile, "t/d"),
               entry(Kind::kDirectory, "t/d/"), entry(Kind::kFile, "t/d/new")});
  unpack(archive, dir_ / "out", options);
  EXPECT_EQ(text("out/t/d/new"), "xxxx");
  EXPECT_FALSE(exists("out/t/d/old"));
}

TEST_F(TreeTest, MoreThanThereIsRoomForIsNotBegun) {
  TarEntry huge = entry(Kind::kFile, "huge");
  huge.size = std::uint64_t{1} << 60;
  std::string archive;
  TarWriter writer([&](std::string_view bytes) { archive += bytes; });
  writer.add(huge);
  EXPECT_THROW(unpack(archive, dir_ / "out"), base::Error);
  EXPECT_FALSE(exists("out/huge"));
}

TEST_F(TreeTest, SetUserIdIsNotTakenFromAGuest) {
  TarEntry program = entry(Kind::kFile, "su");
  program.mode = 06755;
  unpack(made_of({program}), dir_ / "out");
  struct stat info {};
  ASSERT_EQ(::stat((dir_ / "out/su").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0755U);
}

TEST_F(TreeTest, ConfinedRootIsNotLeft) {
  base::make_directories(dir_ / "root/etc");
  base::write_file(dir_ / "root/etc/name", "inside\n");
  ASSERT_EQ(::symlink("/etc/name", (dir_ / "root/abs").c_str()), 0);
  ASSERT_EQ(::symlink("../../../etc/name", (dir_ / "root/up").c_str()), 0);
  ASSERT_EQ(::symlink("/etc/new", (dir_ / "root/new").c_str()), 0);
  const auto root = [this] {
    return TreeRoot(base::open_file(dir_ / "root", O_PATH | O_DIRECTORY));
  };
  unpack(packed("/abs", root()), dir_ / "out");
  EXPECT_EQ(text("out/name"), "inside\n");
  unpack(packed("/up", root()), dir_ / "out/2");
  EXPECT_EQ(text("out/2"), "inside\n");
  unpack(packed(dir_ / "src/f"), "/new", {}, root());
  EXPECT_EQ(text("root/etc/new"), "file\n");
  unpack(packed(dir_ / "src/f"), "/../../etc/f", {}, root());
  EXPECT_EQ(text("root/etc/f"), "file\n");
}

TEST_F(TreeTest, AnyArchiveGoesIntoADirectoryOnly) {
  ReceiveOptions options;
  options.any_archive = true;
  const std::string archive = made_of({entry(Kind::kFile, "a/b"), entry(Kind::kFile, "./c")});
  unpack(archive, dir_ / "out", options);
  EXPECT_EQ(text("out/a/b"), "xxxx");
  EXPECT_EQ(text("out/c"), "xxxx");
  EXPECT_THROW(unpack(archive, dir_ / "src/f", options), base::Error);
  EXPECT_THROW(unpack(archive, dir_ / "missing", options), base::Error);
}

}  // namespace
}  // namespace wire
