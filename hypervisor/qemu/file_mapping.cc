#include "hypervisor/qemu/file_mapping.h"

#include <sys/stat.h>

#include <algorithm>
#include <charconv>

#include "base/error.h"
#include "base/files.h"

namespace hypervisor::qemu {
namespace {

std::string_view next_word(std::string_view& line) {
  line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
  const std::string_view word = line.substr(0, line.find(' '));
  line.remove_prefix(word.size());
  return word;
}

std::uint64_t number(std::string_view word, int radix) {
  std::uint64_t value = 0;
  std::from_chars(word.data(), word.data() + word.size(), value, radix);
  return value;
}

}  // namespace

FileMapping parse_file_mapping(std::string_view smaps, std::string_view name, ino_t inode) {
  FileMapping found;
  bool is_it = false;
  while (!smaps.empty()) {
    std::string_view line = smaps.substr(0, smaps.find('\n'));
    smaps.remove_prefix(std::min(line.size() + 1, smaps.size()));
    const std::string_view first = next_word(line);
    const auto dash = first.find('-');
    if (dash == std::string_view::npos) {
      if (is_it && first == "Rss:") found.resident_bytes += number(next_word(line), 10) * 1024;
      continue;
    }
    const std::uint64_t bytes =
        number(first.substr(dash + 1), 16) - number(first.substr(0, dash), 16);
    const std::string_view flags = next_word(line);
    next_word(line);  // offset
    next_word(line);  // device
    is_it = number(next_word(line), 10) == inode &&
            line.substr(std::min(line.rfind('/') + 1, line.size())) == name;
    if (!is_it) continue;
    (flags.ends_with('s') ? found.shared_bytes : found.private_bytes) += bytes;
  }
  return found;
}

FileMapping file_mapping_of(pid_t pid, const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return {};
  try {
    const auto smaps = base::try_read_file(base::cat("/proc/", pid, "/smaps"), 16 << 20);
    return smaps ? parse_file_mapping(*smaps, path.substr(path.rfind('/') + 1), info.st_ino)
                 : FileMapping{};
  } catch (const base::Error&) {
    // It ended between open and read.
    return {};
  }
}

}  // namespace hypervisor::qemu
