#include "hypervisor/qemu/file_mapping.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/files.h"
#include "tests/support/temp_dir.h"

namespace hypervisor::qemu {
namespace {

TEST(FileMappingTest, OnlyMappingsOfTheFileCount) {
  constexpr char kSmaps[] =
      "7f0000000000-7f0000200000 rw-p 00000000 00:2a 257    /d/my file\n"
      "Size:               2048 kB\n"
      "Rss:                 128 kB\n"
      "Anonymous:            64 kB\n"
      "7f0000300000-7f0000301000 rw-s 00000000 00:2a 257    /d/my file\n"
      "Rss:                   4 kB\n"
      "7f0000400000-7f0000500000 rw-p 00000000 00:2a 258    /d/other\n"
      "Rss:                 512 kB\n"
      "7f0000500000-7f0000600000 rw-p 00000000 00:2b 257    /d/not my file\n"
      "Rss:                 256 kB\n"
      "7f0000600000-7f0000700000 rw-p 00000000 00:00 0 \n"
      "Rss:                1024 kB\n"
      "VmFlags: rd wr mr mw me ac sd\n";
  const FileMapping found = parse_file_mapping(kSmaps, "my file", 257);
  EXPECT_EQ(found.private_bytes, 2U << 20);
  EXPECT_EQ(found.shared_bytes, 4096U);
  EXPECT_EQ(found.resident_bytes, 132U << 10);
  EXPECT_EQ(parse_file_mapping("", "x", 1).private_bytes, 0U);
}

TEST(FileMappingTest, OwnMappingIsFound) {
  const tests::TempDir directory;
  const std::string path = directory / "file";
  base::write_file(path, std::string(3 * 4096, 'x'));
  const base::Fd file = base::open_file(path, O_RDONLY);
  void* const at = ::mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(), 0);
  ASSERT_NE(at, MAP_FAILED);
  static_cast<char*>(at)[0] = 'y';
  const FileMapping found = file_mapping_of(::getpid(), path);
  EXPECT_EQ(found.private_bytes, 3U * 4096);
  EXPECT_GE(found.resident_bytes, 4096U);
  ::munmap(at, 3 * 4096);
  EXPECT_EQ(file_mapping_of(::getpid(), path).private_bytes, 0U);
}

}  // namespace
}  // namespace hypervisor::qemu
