#include "wire/tar.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace wire {
namespace {

using Kind = TarEntry::Kind;

// Hands an archive out in pieces of `step` bytes.
TarReader::Source source_of(const std::string& archive, std::size_t step = 100) {
  return [&archive, step, at = std::size_t{0}](char* buffer, std::size_t size) mutable {
    const std::size_t n = std::min({size, step, archive.size() - at});
    std::copy_n(archive.begin() + static_cast<std::ptrdiff_t>(at), n, buffer);
    at += n;
    return n;
  };
}

std::string archive_of(const std::vector<std::pair<TarEntry, std::string>>& entries) {
  std::string archive;
  TarWriter writer([&](std::string_view bytes) { archive += bytes; });
  for (const auto& [entry, data] : entries) {
    writer.add(entry);
    writer.data(data);
  }
  writer.finish();
  return archive;
}

TarEntry file(const std::string& path, std::size_t size) {
  TarEntry entry;
  entry.path = path;
  entry.mode = 0640;
  entry.size = size;
  return entry;
}

std::string complaint(const std::string& archive) {
  try {
    TarReader reader(source_of(archive));
    TarEntry entry;
    while (reader.next(entry)) {
    }
  } catch (const base::Error& error) {
    return error.what();
  }
  return "";
}

TEST(TarTest, EntriesSurviveTheWay) {
  TarEntry big = file(std::string(3000, 'd') + "/x", 1000);
  big.uid = 1U << 30;
  big.gid = 7;
  big.mtime_s = -5;
  TarEntry link;
  link.kind = Kind::kSymlink;
  link.path = "link";
  link.link_target = std::string(200, 't');
  TarEntry device;
  device.kind = Kind::kCharDevice;
  device.path = "null";
  device.device_major = 1;
  device.device_minor = 3;
  TarEntry folder;
  folder.kind = Kind::kDirectory;
  folder.path = "dir/";
  folder.mode = 01777;
  const std::string data(1000, 'x');
  const std::string archive = archive_of({{big, data}, {link, ""}, {device, ""}, {folder, ""}});
  EXPECT_EQ(archive.size() % 512, 0U);
  for (const std::size_t step : {1U, 511U, 100'000U}) {
    TarReader reader(source_of(archive, step));
    TarEntry entry;
    ASSERT_TRUE(reader.next(entry));
    EXPECT_EQ(entry.path, big.path);
    EXPECT_EQ(entry.uid, big.uid);
    EXPECT_EQ(entry.gid, 7U);
    EXPECT_EQ(entry.mtime_s, -5);
    EXPECT_EQ(entry.mode, 0640U);
    std::string read(2000, '\0');
    std::size_t got = 0;
    while (const std::size_t n = reader.read(read.data() + got, 300)) got += n;
    EXPECT_EQ(read.substr(0, got), data);
    ASSERT_TRUE(reader.next(entry));
    EXPECT_EQ(entry.kind, Kind::kSymlink);
    EXPECT_EQ(entry.link_target, link.link_target);
    ASSERT_TRUE(reader.next(entry));
    EXPECT_EQ(entry.kind, Kind::kCharDevice);
    EXPECT_EQ(entry.device_minor, 3U);
    ASSERT_TRUE(reader.next(entry));
    EXPECT_EQ(entry.kind, Kind::kDirectory);
    EXPECT_EQ(entry.mode, 01777U);
    EXPECT_FALSE(reader.next(entry));
  }
}

TEST(TarTest, SizeBeyondOctalSurvivesTheWay) {
  TarEntry entry = file("huge", std::size_t{1} << 40);
  std::string archive;
  TarWriter writer([&](std::string_view bytes) { archive += bytes; });
  writer.add(entry);
  TarReader reader(source_of(archive));
  TarEntry read;
  ASSERT_TRUE(reader.next(read));
  EXPECT_EQ(read.size, std::uint64_t{1} << 40);
}

TEST(TarTest, DamageIsNoticed) {
  const std::string good = archive_of({{file("a", 600), std::string(600, 'x')}});
  EXPECT_EQ(complaint(good), "");
  EXPECT_NE(complaint(""), "");
  EXPECT_NE(complaint("hello\n"), "");
  EXPECT_NE(complaint(std::string(512, 'j')), "");
  for (const std::size_t size : {100U, 512U, 700U, 1536U}) {
    EXPECT_NE(complaint(good.substr(0, size)), "") << size;
  }
  std::string flipped = good;
  flipped[0] = 'b';
  EXPECT_NE(complaint(flipped), "");
}

TEST(TarTest, WriterRefusesTheWrongAmountOfData) {
  TarWriter writer([](std::string_view) {});
  writer.add(file("a", 3));
  writer.data("ab");
  EXPECT_THROW(writer.data("cd"), base::Error);
  EXPECT_THROW(writer.finish(), base::Error);
}

TEST(TarTest, OverlongPathIsRefused) {
  TarWriter writer([](std::string_view) {});
  EXPECT_THROW(writer.add(file(std::string(5000, 'a'), 0)), base::Error);
}

}  // namespace
}  // namespace wire
