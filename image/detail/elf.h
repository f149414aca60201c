// Just enough of elf(5) to look into kernels and modules. 64-bit little-endian only; every offset is
// checked, for `--kernel FILE` is anything.
#pragma once

#include <elf.h>

#include <cstring>
#include <optional>
#include <string_view>

namespace image::detail {

// A T at `offset`, if it lies inside.
template <typename T>
std::optional<T> read_at(std::string_view bytes, std::uint64_t offset) {
  if (offset > bytes.size() || bytes.size() - offset < sizeof(T)) return std::nullopt;
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

inline std::optional<std::string_view> slice(std::string_view bytes, std::uint64_t offset,
                                             std::uint64_t size) {
  if (offset > bytes.size() || bytes.size() - offset < size) return std::nullopt;
  return bytes.substr(offset, size);
}

inline std::optional<Elf64_Ehdr> elf_header(std::string_view bytes) {
  const auto header = read_at<Elf64_Ehdr>(bytes, 0);
  if (!header || std::memcmp(header->e_ident, ELFMAG, SELFMAG) != 0) return std::nullopt;
  if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB) {
    return std::nullopt;
  }
  return header;
}

// The content of the section `name`; empty when there is none.
inline std::string_view elf_section(std::string_view bytes, std::string_view name) {
  const auto header = elf_header(bytes);
  if (!header || header->e_shentsize != sizeof(Elf64_Shdr)) return {};
  const auto section = [&](unsigned index) {
    return read_at<Elf64_Shdr>(bytes, header->e_shoff + std::uint64_t{index} * sizeof(Elf64_Shdr));
  };
  const auto names_header = section(header->e_shstrndx);
  if (!names_header) return {};
  const auto names = slice(bytes, names_header->sh_offset, names_header->sh_size);
  if (!names) return {};
  for (unsigned i = 0; i < header->e_shnum; ++i) {
    const auto candidate = section(i);
    if (!candidate || candidate->sh_name >= names->size()) continue;
    const std::string_view rest = names->substr(candidate->sh_name);
    if (rest.substr(0, rest.find('\0')) != name) continue;
    return slice(bytes, candidate->sh_offset, candidate->sh_size).value_or(std::string_view());
  }
  return {};
}

}  // namespace image::detail
