#include "fc-agent/module_file.h"

#include <elf.h>

#include <cstdint>
#include <cstring>
#include <optional>

namespace fc_agent {
namespace {

template <typename T>
std::optional<T> read_at(std::span<const char> file, std::uint64_t offset) {
  if (offset > file.size() || file.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

bool is_unwind_table(std::string_view section) {
  return section == ".orc_unwind" || section == ".orc_unwind_ip";
}

// The text at `offset` up to its zero; empty when it has no end within the file.
std::string_view text_at(std::span<const char> file, std::uint64_t offset) {
  if (offset >= file.size()) return {};
  const std::string_view rest(file.data() + offset, file.size() - offset);
  const auto end = rest.find('\0');
  return end == std::string_view::npos ? std::string_view() : rest.substr(0, end);
}

}  // namespace

std::size_t unsigned_size(std::string_view file) {
  // From the end: the mark, then struct module_signature of the kernel (its last field, big-endian,
  // is the signature's size), then the signature.
  constexpr std::string_view kMark = "~Module signature appended~\n";
  constexpr std::size_t kStructBytes = 12;
  if (!file.ends_with(kMark) || file.size() < kMark.size() + kStructBytes) return file.size();
  const std::size_t left = file.size() - kMark.size() - kStructBytes;
  std::size_t signature_bytes = 0;
  for (const char c : file.substr(left + kStructBytes - 4, 4)) {
    signature_bytes = signature_bytes << 8 | static_cast<unsigned char>(c);
  }
  return signature_bytes < left ? left - signature_bytes : file.size();
}

void leave_out_unwind_tables(std::span<char> file) {
  const auto header = read_at<Elf64_Ehdr>(file, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0 ||
      header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_shentsize != sizeof(Elf64_Shdr) ||
      header->e_shoff > file.size()) {
    return;
  }
  const auto header_offset = [&](std::uint64_t index) {
    return header->e_shoff + index * sizeof(Elf64_Shdr);
  };
  const auto names = read_at<Elf64_Shdr>(file, header_offset(header->e_shstrndx));
  if (!names || names->sh_offset > file.size()) return;
  for (std::uint64_t i = 0; i < header->e_shnum; ++i) {
    auto section = read_at<Elf64_Shdr>(file, header_offset(i));
    if (!section) return;
    if (!is_unwind_table(text_at(file, names->sh_offset + section->sh_name))) continue;
    section->sh_flags &= ~static_cast<Elf64_Xword>(SHF_ALLOC);
    section->sh_name = 0;
    std::memcpy(file.data() + header_offset(i), &*section, sizeof *section);
  }
}

}  // namespace fc_agent
