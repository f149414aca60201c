#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace hypervisor::qemu {

// What a process has mapped of one file, by /proc/<pid>/smaps (proc(5)).
struct FileMapping {
  std::uint64_t private_bytes = 0;   // of address space, mapped so that writes go to private copies
  std::uint64_t shared_bytes = 0;    // of address space, mapped so that writes go to the file
  std::uint64_t resident_bytes = 0;  // of memory behind both
};

FileMapping file_mapping_of(pid_t pid, const std::string& path);
// From the text of smaps: mappings of a file with this inode and, without its folder, this name. The
// device does not tell: btrfs has another one there than in stat(2).
FileMapping parse_file_mapping(std::string_view smaps, std::string_view name, ino_t inode);

}  // namespace hypervisor::qemu
