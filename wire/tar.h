// Archives in the ustar format with pax and GNU extensions (POSIX.1-2017, pax; tar(5)), as a tree of
// files crosses the boundary between host and guest. Both ends distrust what they read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace wire {

struct TarEntry {
  enum class Kind { kFile, kHardLink, kSymlink, kCharDevice, kBlockDevice, kDirectory, kFifo };
  Kind kind = Kind::kFile;
  std::string path;         // as it stands in the archive; a directory's ends with '/' or not
  std::string link_target;  // kHardLink: another path of the archive; kSymlink
  std::uint32_t mode = 0;   // 07777
  std::uint64_t uid = 0;
  std::uint64_t gid = 0;
  std::uint64_t size = 0;  // of what follows; kFile only
  std::int64_t mtime_s = 0;
  std::uint32_t device_major = 0;
  std::uint32_t device_minor = 0;
};

inline constexpr std::size_t kMaxTarPathBytes = 4096;

class TarWriter {
 public:
  // Takes the archive's bytes in order; may throw.
  using Sink = std::function<void(std::string_view)>;
  explicit TarWriter(Sink sink) : sink_(std::move(sink)) {}

  // Exactly entry.size bytes of data() follow before the next entry. Throws base::Error for a path or
  // a target that is too long.
  void add(const TarEntry& entry);
  void data(std::string_view bytes);
  // The end mark.
  void finish();

 private:
  void header(const TarEntry& entry, char type);

  Sink sink_;
  std::uint64_t left_ = 0;     // of the entry's data
  std::uint64_t padding_ = 0;  // behind it
};

class TarReader {
 public:
  // Reads up to `size` bytes; 0 at the end. May throw.
  using Source = std::function<std::size_t(char* buffer, std::size_t size)>;
  explicit TarReader(Source source) : source_(std::move(source)) {}

  // False at the end mark. Skips what was not read of the entry before. Throws base::Error for what
  // is no archive, is damaged, ends early, or holds what is not understood.
  bool next(TarEntry& entry);
  // Data of the entry; 0 when there is no more. Throws base::Error when the archive ends early.
  std::size_t read(char* buffer, std::size_t size);

 private:
  struct Extensions;
  bool read_block(char* block);
  void read_exactly(char* buffer, std::size_t size);
  std::string read_extension(std::uint64_t size, std::size_t limit);
  void skip_data();

  Source source_;
  std::uint64_t left_ = 0;
  std::uint64_t padding_ = 0;
  bool any_ = false;
};

}  // namespace wire
