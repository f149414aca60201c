#include "image/cpio.h"

#include <sys/stat.h>

#include <array>
#include <cstdio>

namespace image {
namespace {

void pad(std::string& out, std::size_t alignment) {
  out.append((alignment - out.size() % alignment) % alignment, '\0');
}

}  // namespace

void CpioWriter::add(std::string_view name, mode_t mode, std::string_view content,
                     std::uint32_t major, std::uint32_t minor) {
  std::array<char, 111> header{};
  // magic, inode, mode, uid, gid, links, mtime, file size, device, device node, name size, checksum
  std::snprintf(header.data(), header.size(),
                "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", ++inode_, mode, 0U,
                0U, S_ISDIR(mode) ? 2U : 1U, 0U, static_cast<unsigned>(content.size()), 0U, 0U,
                major, minor, static_cast<unsigned>(name.size() + 1), 0U);
  out_.append(header.data(), 110);
  out_ += name;
  out_ += '\0';
  pad(out_, 4);
  out_ += content;
  pad(out_, 4);
}

void CpioWriter::add_directory(std::string_view name, mode_t permissions) {
  add(name, S_IFDIR | permissions, {}, 0, 0);
}

void CpioWriter::add_file(std::string_view name, std::string_view content, mode_t permissions) {
  add(name, S_IFREG | permissions, content, 0, 0);
}

void CpioWriter::add_symlink(std::string_view name, std::string_view target) {
  add(name, S_IFLNK | 0777, target, 0, 0);
}

void CpioWriter::add_character_device(std::string_view name, std::uint32_t major,
                                      std::uint32_t minor, mode_t permissions) {
  add(name, S_IFCHR | permissions, {}, major, minor);
}

std::string CpioWriter::finish() {
  inode_ = static_cast<std::uint32_t>(-1);  // the trailer's is 0
  add("TRAILER!!!", 0, {}, 0, 0);
  pad(out_, 512);
  return std::move(out_);
}

}  // namespace image
