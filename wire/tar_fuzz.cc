// An archive of the other side: whatever it says, reading it ends, and what is read can be written.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "wire/tar.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::size_t at = 0;
  wire::TarReader reader([&](char* buffer, std::size_t wanted) {
    const std::size_t n = std::min(wanted, size - at);
    std::memcpy(buffer, data + at, n);
    at += n;
    return n;
  });
  try {
    wire::TarEntry entry;
    std::array<char, 1000> buffer;
    while (reader.next(entry)) {
      if (entry.path.empty() || entry.path.size() > wire::kMaxTarPathBytes) __builtin_trap();
      if (entry.kind != wire::TarEntry::Kind::kFile && entry.size != 0) __builtin_trap();
      std::uint64_t total = 0;
      while (const std::size_t n = reader.read(buffer.data(), buffer.size())) total += n;
      if (total != entry.size) __builtin_trap();
      wire::TarWriter([](std::string_view) {}).add(entry);
    }
  } catch (const base::Error&) {
  }
  return 0;
}
