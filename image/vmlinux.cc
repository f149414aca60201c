#include <lz4.h>

#include <array>
#include <cstdint>

#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "image/detail/elf.h"
#include "image/kernel.h"

namespace image {
namespace {

constexpr std::size_t kMaxKernelBytes = 512U << 20;

// linux/Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
constexpr std::size_t kSetupSectsOffset = 0x1f1;
constexpr std::size_t kHeaderMagicOffset = 0x202;
constexpr std::size_t kVersionOffset = 0x206;
constexpr std::size_t kKernelVersionOffset = 0x20e;
constexpr std::size_t kPayloadOffsetOffset = 0x248;
constexpr std::size_t kPayloadLengthOffset = 0x24c;
constexpr std::uint16_t kVersionWithPayload = 0x208;

// include/xen/interface/elfnote.h
constexpr std::uint32_t kXenElfnotePhys32Entry = 18;

bool is_bzimage(std::string_view image) {
  const auto magic = detail::slice(image, kHeaderMagicOffset, 4);
  return magic && *magic == "HdrS";
}

// The legacy frame of LZ4 (lz4_Frame_format.md): a magic number, then blocks that decompress to
// 8 MiB each but the last, each after its compressed size.
std::string decompress_lz4_legacy(std::string_view payload) {
  constexpr std::size_t kBlockBytes = 8U << 20;
  std::string out;
  std::size_t at = 4;
  while (payload.size() - at >= 4) {
    const std::uint32_t size = *detail::read_at<std::uint32_t>(payload, at);
    at += 4;
    if (size == 0 || size > payload.size() - at) throw base::Error("its LZ4 payload is damaged");
    if (out.size() + kBlockBytes > kMaxKernelBytes) throw base::Error("it unpacks to over 512 MiB");
    const std::size_t before = out.size();
    out.resize(before + kBlockBytes);
    const int got = ::LZ4_decompress_safe(payload.data() + at, out.data() + before,
                                          static_cast<int>(size), static_cast<int>(kBlockBytes));
    if (got < 0) throw base::Error("its LZ4 payload is damaged");
    out.resize(before + static_cast<std::size_t>(got));
    at += size;
  }
  return out;
}

std::string decompress_by(const std::vector<std::string>& command, std::string_view payload) {
  const base::Fd input = base::make_memfd("kernel", 0);
  base::write_all(input, payload);
  const base::Fd from_start =
      base::open_file(base::cat("/proc/self/fd/", input.get()), 0 /* O_RDONLY */);
  base::SpawnOptions spawn;
  spawn.argv = command;
  spawn.fds = {{from_start.get(), 0}};
  base::CommandOptions options;
  options.max_output_bytes = kMaxKernelBytes;
  return base::run_command_checked(std::move(spawn), options).out;
}

struct Compression {
  std::string_view magic;
  std::vector<std::string> command;  // empty: LZ4, done here
  bool size_appended;                // scripts/Makefile.lib adds the size to all but gzip
};

std::string decompress(std::string_view payload) {
  using namespace std::string_view_literals;
  static const std::array<Compression, 6> kinds{{
      {"\x02\x21\x4c\x18"sv, {}, true},
      {"\x1f\x8b"sv, {"gzip", "-dc"}, false},
      {"\xfd\x37zXZ\0"sv, {"xz", "-dc"}, true},
      {"\x28\xb5\x2f\xfd"sv, {"zstd", "-dcq", "--long=31"}, true},
      {"BZh"sv, {"bzip2", "-dc"}, true},
      {"\x5d\x00\x00"sv, {"xz", "--format=lzma", "-dc"}, true},
  }};
  for (const auto& kind : kinds) {
    if (!payload.starts_with(kind.magic)) continue;
    if (kind.size_appended && payload.size() >= kind.magic.size() + 4) payload.remove_suffix(4);
    return kind.command.empty() ? decompress_lz4_legacy(payload)
                                : decompress_by(kind.command, payload);
  }
  throw base::Error("its payload is compressed in a way that is not known here");
}

std::string_view bzimage_payload(std::string_view image) {
  const auto version = detail::read_at<std::uint16_t>(image, kVersionOffset);
  const auto sectors = detail::read_at<std::uint8_t>(image, kSetupSectsOffset);
  const auto offset = detail::read_at<std::uint32_t>(image, kPayloadOffsetOffset);
  const auto length = detail::read_at<std::uint32_t>(image, kPayloadLengthOffset);
  if (!version || !sectors || !offset || !length || *version < kVersionWithPayload) {
    throw base::Error("its boot header is cut short or too old");
  }
  // boot.rst: 0 means 4 for historical reasons.
  const std::uint64_t setup = (std::uint64_t{*sectors == 0 ? 4U : *sectors} + 1) * 512;
  const auto payload = detail::slice(image, setup + *offset, *length);
  if (!payload) throw base::Error("it is cut short");
  return *payload;
}

bool has_pvh_note(std::string_view elf) {
  const auto header = detail::elf_header(elf);
  if (!header || header->e_phentsize != sizeof(Elf64_Phdr)) return false;
  for (unsigned i = 0; i < header->e_phnum; ++i) {
    const auto segment =
        detail::read_at<Elf64_Phdr>(elf, header->e_phoff + std::uint64_t{i} * sizeof(Elf64_Phdr));
    if (!segment || segment->p_type != PT_NOTE) continue;
    const auto notes = detail::slice(elf, segment->p_offset, segment->p_filesz);
    if (!notes) continue;
    for (std::uint64_t at = 0; const auto note = detail::read_at<Elf64_Nhdr>(*notes, at);) {
      const auto name = detail::slice(*notes, at + sizeof(Elf64_Nhdr), note->n_namesz);
      if (!name) break;
      if (note->n_type == kXenElfnotePhys32Entry && name->starts_with("Xen")) return true;
      const auto align = [](std::uint64_t n) { return (n + 3) & ~std::uint64_t{3}; };
      at += sizeof(Elf64_Nhdr) + align(note->n_namesz) + align(note->n_descsz);
    }
  }
  return false;
}

std::string first_word(std::string_view text) {
  constexpr std::size_t kMaxRelease = 128;
  text = text.substr(0, kMaxRelease);
  return std::string(text.substr(0, text.find_first_of(std::string_view(" \0\n", 3))));
}

}  // namespace

std::string extract_vmlinux(std::string_view image) {
  std::string elf;
  if (detail::elf_header(image)) {
    elf = image;
  } else if (is_bzimage(image)) {
    elf = decompress(bzimage_payload(image));
  } else {
    throw base::Error("it is neither an x86 bzImage nor a 64-bit ELF file");
  }
  if (!detail::elf_header(elf)) throw base::Error("what it unpacks to is no 64-bit ELF file");
  if (!has_pvh_note(elf)) {
    base::Error error("it has no PVH entry point, by which a microVM is started");
    error.set_hint("build the kernel with CONFIG_PVH=y");
    throw error;
  }
  return elf;
}

std::string kernel_release(std::string_view image) {
  if (is_bzimage(image)) {
    const auto pointer = detail::read_at<std::uint16_t>(image, kKernelVersionOffset);
    if (!pointer || *pointer == 0 || image.size() <= std::size_t{*pointer} + 0x200) return {};
    return first_word(image.substr(std::size_t{*pointer} + 0x200));
  }
  constexpr std::string_view kBanner = "Linux version ";
  for (auto at = image.find(kBanner); at != std::string_view::npos;
       at = image.find(kBanner, at + 1)) {
    const std::string release = first_word(image.substr(at + kBanner.size()));
    if (!release.empty() && release.find('%') == std::string::npos) return release;
  }
  return {};
}

}  // namespace image
