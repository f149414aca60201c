#include "image/kernel.h"

#include <elf.h>
#include <gtest/gtest.h>
#include <lz4.h>
#include <unistd.h>

#include <cstring>

#include "base/error.h"
#include "base/files.h"
#include "image/cpio.h"
#include "image/initramfs.h"
#include "image/kernel_modules.h"
#include "tests/support/requirements.h"
#include "tests/support/temp_dir.h"

namespace image {
namespace {

template <typename T>
void put(std::string& out, std::size_t offset, const T& value) {
  if (out.size() < offset + sizeof(T)) out.resize(offset + sizeof(T));
  std::memcpy(out.data() + offset, &value, sizeof(T));
}

Elf64_Ehdr elf_start() {
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  return header;
}

// An ELF with one note segment; the note has `type`.
std::string make_vmlinux(std::uint32_t type = 18) {
  Elf64_Ehdr header = elf_start();
  header.e_phoff = sizeof(Elf64_Ehdr);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = 256;
  segment.p_filesz = 64;
  std::string out(512, '\0');
  put(out, 0, header);
  put(out, header.e_phoff, segment);
  // Another note before it, as real kernels have.
  put(out, 256, Elf64_Nhdr{6, 5, 1});
  std::memcpy(out.data() + 268, "Linux", 6);
  put(out, 284, Elf64_Nhdr{4, 8, type});
  std::memcpy(out.data() + 296, "Xen", 4);
  out += "Linux version %s (x)";
  out += '\0';
  out += "Linux version 6.1.0-test (builder) #1";
  out.append(100000, 'k');
  return out;
}

std::string make_bzimage(const std::string& payload) {
  std::string out(4 * 512, '\0');
  out[0x1f1] = 3;
  std::memcpy(out.data() + 0x202, "HdrS", 4);
  put(out, 0x206, std::uint16_t{0x20f});
  put(out, 0x20e, std::uint16_t{0x300});
  std::memcpy(out.data() + 0x500, "6.1.0-bz (x) #1", 16);
  put(out, 0x248, std::uint32_t{16});
  put(out, 0x24c, static_cast<std::uint32_t>(payload.size()));
  out.append(16, '\x90');
  return out + payload;
}

std::string lz4_legacy(const std::string& data) {
  std::string block(static_cast<std::size_t>(::LZ4_compressBound(static_cast<int>(data.size()))),
                    '\0');
  const int size = ::LZ4_compress_default(data.data(), block.data(), static_cast<int>(data.size()),
                                          static_cast<int>(block.size()));
  block.resize(static_cast<std::size_t>(size));
  std::string out("\x02\x21\x4c\x18", 4);
  put(out, 4, static_cast<std::uint32_t>(size));
  out += block;
  put(out, out.size(), static_cast<std::uint32_t>(data.size()));
  return out;
}

// A .ko with one section, .modinfo.
std::string make_module(const std::string& depends) {
  const std::string info = std::string("license=GPL") + '\0' + "depends=" + depends + '\0';
  const std::string names = std::string("\0.modinfo\0", 10);
  Elf64_Ehdr header = elf_start();
  header.e_shoff = 64;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 2;
  header.e_shstrndx = 0;
  Elf64_Shdr strings{};
  strings.sh_offset = 64 + 2 * sizeof(Elf64_Shdr);
  strings.sh_size = names.size();
  Elf64_Shdr modinfo{};
  modinfo.sh_name = 1;
  modinfo.sh_offset = strings.sh_offset + names.size();
  modinfo.sh_size = info.size();
  std::string out;
  put(out, 0, header);
  put(out, 64, strings);
  put(out, 64 + sizeof(Elf64_Shdr), modinfo);
  return out + names + info;
}

TEST(VmlinuxTest, ElfIsTakenAsItIs) {
  const std::string elf = make_vmlinux();
  EXPECT_EQ(extract_vmlinux(elf), elf);
  EXPECT_EQ(kernel_release(elf), "6.1.0-test");
}

TEST(VmlinuxTest, Lz4PayloadIsUnpacked) {
  const std::string elf = make_vmlinux();
  const std::string image = make_bzimage(lz4_legacy(elf));
  EXPECT_EQ(extract_vmlinux(image), elf);
  EXPECT_EQ(kernel_release(image), "6.1.0-bz");
}

class PackedVmlinuxTest : public ::testing::TestWithParam<std::pair<const char*, bool>> {};

TEST_P(PackedVmlinuxTest, PayloadIsUnpackedByTheTool) {
  const auto& [tool, size_appended] = GetParam();
  FCVM_REQUIRE_THAT(tools, tests::missing_program({tool}));
  const std::string elf = make_vmlinux();
  tests::TempDir dir;
  const std::string in = dir.write("in", elf);
  const std::string out = dir / "out";
  const std::string command = std::string(tool) + " -c < " + in + " > " + out;
  ASSERT_EQ(std::system(command.c_str()), 0);
  std::string payload = base::read_file(out);
  if (size_appended) put(payload, payload.size(), static_cast<std::uint32_t>(elf.size()));
  EXPECT_EQ(extract_vmlinux(make_bzimage(payload)), elf);
}

INSTANTIATE_TEST_SUITE_P(All, PackedVmlinuxTest,
                         ::testing::Values(std::pair("gzip", false), std::pair("xz", true),
                                           std::pair("zstd", true), std::pair("bzip2", true)));

TEST(VmlinuxTest, OtherFilesAreRefused) {
  const std::string good = make_bzimage(lz4_legacy(make_vmlinux()));
  EXPECT_THROW(extract_vmlinux(""), base::Error);
  EXPECT_THROW(extract_vmlinux("#!/bin/sh\n"), base::Error);
  EXPECT_THROW(extract_vmlinux(good.substr(0, 0x206)), base::Error);
  EXPECT_THROW(extract_vmlinux(good.substr(0, good.size() - 1)), base::Error);
  EXPECT_THROW(extract_vmlinux(make_bzimage("what is this")), base::Error);
  EXPECT_THROW(extract_vmlinux(make_bzimage(lz4_legacy("not an ELF"))), base::Error);
  EXPECT_THROW(extract_vmlinux(make_bzimage("")), base::Error);
}

TEST(VmlinuxTest, DamagedLz4IsRefused) {
  std::string payload = lz4_legacy(make_vmlinux());
  put(payload, 4, std::uint32_t{0xffffffff});
  EXPECT_THROW(extract_vmlinux(make_bzimage(payload)), base::Error);
}

TEST(VmlinuxTest, KernelWithoutPvhEntryIsRefusedWithAHint) {
  try {
    extract_vmlinux(make_vmlinux(17));
    FAIL();
  } catch (const base::Error& error) {
    EXPECT_NE(error.hint().find("CONFIG_PVH"), std::string::npos);
  }
}

class ModuleTest : public ::testing::Test {
 protected:
  void module(const std::string& path, const std::string& depends) {
    dir_.write("kernel/" + path, make_module(depends));
  }
  std::vector<std::string> closure(const std::vector<std::string>& names,
                                   const std::vector<std::string>& optional = {}) {
    std::vector<std::string> leaves;
    for (const std::string& file : module_closure(dir_.path(), names, optional)) {
      leaves.push_back(file.substr(file.rfind('/') + 1));
    }
    return leaves;
  }
  tests::TempDir dir_;
};

TEST_F(ModuleTest, DependenciesComeFirstAndOnce) {
  module("a/virtio_blk.ko", "virtio_ring,virtio");
  module("b/virtio.ko", "virtio_ring");
  module("b/virtio_ring.ko", "");
  module("c/virtio-rng.ko", "virtio");
  EXPECT_EQ(
      closure({"virtio_blk", "virtio_rng"}),
      (std::vector<std::string>{"virtio_ring.ko", "virtio.ko", "virtio_blk.ko", "virtio-rng.ko"}));
}

TEST_F(ModuleTest, BuiltInModulesAreLeftOut) {
  module("a/virtio_blk.ko", "virtio");
  dir_.write("modules.builtin", "kernel/drivers/virtio/virtio.ko\nkernel/fs/ext4/ext4.ko\n");
  EXPECT_EQ(closure({"ext4", "virtio_blk"}), std::vector<std::string>{"virtio_blk.ko"});
}

TEST_F(ModuleTest, MissingModuleIsAnErrorUnlessOptional) {
  module("a/virtio_blk.ko", "");
  EXPECT_THROW(closure({"virtio_net"}), base::Error);
  EXPECT_EQ(closure({"virtio_blk"}, {"virtio_net"}), std::vector<std::string>{"virtio_blk.ko"});
}

TEST_F(ModuleTest, RingOfDependenciesIsRefused) {
  module("a/x.ko", "y");
  module("a/y.ko", "x");
  EXPECT_THROW(closure({"x"}), base::Error);
}

TEST_F(ModuleTest, CompressedModuleIsRead) {
  const std::string plain = dir_.write("kernel/a.ko", make_module("b"));
  ASSERT_EQ(std::system(("xz " + plain).c_str()), 0);
  module("b.ko", "");
  EXPECT_EQ(closure({"a"}), (std::vector<std::string>{"b.ko", "a.ko.xz"}));
}

TEST_F(ModuleTest, FileThatIsNoModuleIsRefused) {
  dir_.write("kernel/a.ko", "hello");
  EXPECT_THROW(closure({"a"}), base::Error);
}

class KernelTest : public ::testing::Test {
 protected:
  KernelTest() : data_(dir_ / "data") { base::make_directories(data_.initramfs()); }

  Kernel install(const std::string& version) {
    const std::string tree = "tree-" + version + "/";
    dir_.write(tree + "boot/vmlinuz-6.1.0-bz", make_bzimage(lz4_legacy(make_vmlinux())));
    for (const char* name : {"virtio_mmio", "virtio_blk", "virtio_console", "overlay"}) {
      dir_.write(tree + "lib/modules/6.1.0-bz/kernel/" + name + ".ko", make_module(""));
    }
    return install_kernel_tree(data_, dir_ / tree, "debian", version);
  }

  tests::TempDir dir_;
  storage::DataDirectory data_;
};

TEST_F(KernelTest, InstalledKernelBecomesTheDefault) {
  const Kernel kernel = install("1");
  EXPECT_EQ(kernel.path, data_.kernels() + "/debian/1/vmlinux.bin");
  EXPECT_EQ(kernel.release, "6.1.0-bz");
  EXPECT_EQ(kernel.modules.size(), 4U);
  for (const std::string& module : kernel.modules) EXPECT_TRUE(base::path_exists(module));
  EXPECT_THROW(load_kernel(data_), base::Error);
  set_default_kernel(data_, kernel);
  EXPECT_EQ(load_kernel(data_).path, kernel.path);
  EXPECT_EQ(base::read_file(data_.default_kernel()), make_vmlinux());
  set_default_kernel(data_, install("2"));
  EXPECT_EQ(load_kernel(data_).path, data_.kernels() + "/debian/2/vmlinux.bin");
}

TEST_F(KernelTest, ImportedFileIsReadOnce) {
  const std::string file = dir_.write("custom", make_vmlinux());
  const Kernel first = load_kernel(data_, file);
  EXPECT_TRUE(first.path.starts_with(data_.kernels() + "/imported/")) << first.path;
  EXPECT_TRUE(first.modules.empty());
  EXPECT_EQ(load_kernel(data_, file).path, first.path);
  EXPECT_EQ(load_kernel(data_, first.path).path, first.path);
}

TEST_F(KernelTest, ImportOfSomethingElseLeavesNothing) {
  const std::string file = dir_.write("custom", "not a kernel");
  EXPECT_THROW(load_kernel(data_, file), base::Error);
  EXPECT_THROW(load_kernel(data_, dir_ / "missing"), base::Error);
  EXPECT_TRUE(base::list_directory(data_.kernels() + "/imported").empty());
}

TEST_F(KernelTest, InitramfsFollowsTheAgent) {
  const Kernel kernel = install("1");
  const std::string agent = dir_.write("agent", "first agent");
  const Initramfs first = ensure_initramfs(data_, agent, kernel);
  EXPECT_EQ(ensure_initramfs(data_, agent, kernel).path, first.path);
  const std::string content = base::read_file(first.path);
  EXPECT_NE(content.find("first agent"), std::string::npos);
  EXPECT_NE(content.find("/modules/virtio_mmio.ko\n/modules/virtio_console.ko\n"),
            std::string::npos);

  dir_.write("agent", "another agent");
  const Initramfs second = ensure_initramfs(data_, agent, kernel);
  EXPECT_NE(second.path, first.path);
  EXPECT_TRUE(base::path_exists(first.path));
}

TEST(CpioTest, SameCallsMakeTheSameBytesThatCpioReads) {
  const auto make = [] {
    CpioWriter cpio;
    cpio.add_directory("dir");
    cpio.add_file("dir/file", "content", 0640);
    cpio.add_symlink("link", "dir/file");
    cpio.add_file("empty", "");
    return cpio.finish();
  };
  const std::string archive = make();
  EXPECT_EQ(make(), archive);
  EXPECT_EQ(archive.size() % 512, 0U);
  tests::TempDir dir;
  dir.write("a.cpio", archive);
  FCVM_REQUIRE_THAT(tools, tests::missing_program({"cpio"}));
  const std::string command =
      "cd " + dir.path().string() + " && cpio --quiet -id < a.cpio && test -L link";
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_EQ(base::read_file(dir / "dir/file"), "content");
  EXPECT_EQ(base::read_file(dir / "link"), "content");
  EXPECT_EQ(base::read_file(dir / "empty"), "");
}

}  // namespace
}  // namespace image
