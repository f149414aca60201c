#include "fc-agent/module_file.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace fc_agent {
namespace {

TEST(ModuleTest, SignatureIsCutOff) {
  const std::string mark = "~Module signature appended~\n";
  const auto trailer = [&](std::uint32_t bytes) {
    std::string text(8, '\2');
    for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(bytes >> shift);
    return text + mark;
  };
  const std::string module(100, 'm');
  EXPECT_EQ(unsigned_size(module), 100U);
  EXPECT_EQ(unsigned_size(module + std::string(20, 's') + trailer(20)), 100U);
  // A size that cannot be, and a mark alone: the kernel may say what it thinks of such a file.
  const std::string lying = module + trailer(1 << 30);
  EXPECT_EQ(unsigned_size(lying), lying.size());
  EXPECT_EQ(unsigned_size(mark), mark.size());
}

// A file of five sections: the empty first one, their names, and three that a module is loaded with.
std::string module_with_tables() {
  const std::string names("\0.shstrtab\0.text\0.orc_unwind\0.orc_unwind_ip\0", 45);
  Elf64_Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 5;
  header.e_shstrndx = 1;
  header.e_shoff = sizeof header + names.size();
  std::array<Elf64_Shdr, 5> sections{};
  sections[1].sh_offset = sizeof header;
  for (std::size_t i = 1; i < 5; ++i) {
    constexpr std::array<Elf64_Word, 5> kNames{0, 1, 11, 17, 29};
    sections[i].sh_name = kNames[i];
    sections[i].sh_flags = SHF_ALLOC | SHF_WRITE;
  }
  std::string file(sizeof header, '\0');
  std::memcpy(file.data(), &header, sizeof header);
  file += names;
  file.append(reinterpret_cast<const char*>(sections.data()), sizeof sections);
  return file;
}

TEST(ModuleFileTest, OnlyTheUnwindTablesAreLeftOut) {
  std::string file = module_with_tables();
  const std::string before = file;
  leave_out_unwind_tables(file);
  const auto header = [&](std::size_t section) {
    Elf64_Shdr found;
    std::memcpy(&found, file.data() + file.size() - (5 - section) * sizeof found, sizeof found);
    return found;
  };
  for (const std::size_t kept : {1, 2}) {
    EXPECT_EQ(header(kept).sh_flags, SHF_ALLOC | SHF_WRITE);
    EXPECT_NE(header(kept).sh_name, 0U);
  }
  for (const std::size_t left_out : {3, 4}) {
    EXPECT_EQ(header(left_out).sh_flags, SHF_WRITE);
    EXPECT_EQ(header(left_out).sh_name, 0U);
  }
  EXPECT_EQ(file.size(), before.size());
}

TEST(ModuleFileTest, DamagedFilesAreLeftToTheKernel) {
  const std::string whole = module_with_tables();
  for (std::size_t size = 0; size < whole.size(); ++size) {
    std::string cut = whole.substr(0, size);
    leave_out_unwind_tables(cut);
    EXPECT_EQ(cut.size(), size);
  }
  std::string wild = whole;
  const std::uint64_t far = ~std::uint64_t{0} - 8;
  std::memcpy(wild.data() + offsetof(Elf64_Ehdr, e_shoff), &far, sizeof far);
  const std::string before = wild;
  leave_out_unwind_tables(wild);
  EXPECT_EQ(wild, before);
}

}  // namespace
}  // namespace fc_agent
