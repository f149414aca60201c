#include "storage/sparse_copy.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <string_view>
#include <vector>

#include "base/digest.h"
#include "base/error.h"

namespace storage {
namespace {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kBlockBytes = 64 * 1024;
constexpr std::size_t kBufferBytes = 1 << 20;

bool is_zero(std::string_view bytes) {
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

off_t length_of(const base::Fd& file) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) base::throw_errno("examining a file");
  return info.st_size;
}

// Calls `take` with pieces that cover the data extents of `file`: each begins at a multiple of
// kBlockBytes and is at most kBufferBytes long.
void for_each_piece(const base::Fd& file, off_t length,
                    const std::function<void(off_t offset, std::string_view)>& take) {
  std::vector<char> buffer(kBufferBytes);
  off_t at = 0;
  while (at < length) {
    const off_t data = ::lseek(file.get(), at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) return;
    if (data < 0) base::throw_errno("looking for data in a file");
    const off_t hole = ::lseek(file.get(), data, SEEK_HOLE);
    if (hole < 0) base::throw_errno("looking for a hole in a file");
    // What was read of the block before is not read again.
    at = std::max(at, data - data % static_cast<off_t>(kBlockBytes));
    const off_t end =
        std::min(length, (hole + static_cast<off_t>(kBlockBytes) - 1) /
                             static_cast<off_t>(kBlockBytes) * static_cast<off_t>(kBlockBytes));
    while (at < end) {
      const std::size_t wanted =
          std::min(buffer.size(), static_cast<std::size_t>(std::min(end, length) - at));
      std::size_t got = 0;
      while (got < wanted) {
        const ssize_t n =
            ::pread(file.get(), buffer.data() + got, wanted - got, at + static_cast<off_t>(got));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) base::throw_errno("reading a file");
        if (n == 0) throw base::Error("reading a file: it became shorter");
        got += static_cast<std::size_t>(n);
      }
      take(at, {buffer.data(), got});
      at += static_cast<off_t>(got);
    }
  }
}

void write_at(const base::Fd& file, std::string_view bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t n = ::pwrite(file.get(), bytes.data(), bytes.size(), offset);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) base::throw_errno("writing a copy");
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += n;
  }
}

}  // namespace

std::uint64_t copy_sparse(const base::Fd& source, const base::Fd& destination) {
  const off_t length = length_of(source);
  if (::ftruncate(destination.get(), length) != 0) base::throw_errno("sizing a copy");
  std::uint64_t written = 0;
  for_each_piece(source, length, [&](off_t offset, std::string_view piece) {
    // Runs of pages that hold anything are written with one call each.
    std::size_t run = 0;
    for (std::size_t page = 0; page < piece.size(); page += kPageBytes) {
      if (!is_zero(piece.substr(page, kPageBytes))) continue;
      write_at(destination, piece.substr(run, page - run), offset + static_cast<off_t>(run));
      written += page - run;
      run = std::min(page + kPageBytes, piece.size());
    }
    write_at(destination, piece.substr(run), offset + static_cast<off_t>(run));
    written += piece.size() - run;
  });
  return written;
}

std::string content_digest(const base::Fd& file) {
  const off_t length = length_of(file);
  base::Sha256 digest;
  digest.update(base::cat(length, "\n"));
  for_each_piece(file, length, [&](off_t offset, std::string_view piece) {
    for (std::size_t at = 0; at < piece.size(); at += kBlockBytes) {
      const std::string_view block = piece.substr(at, kBlockBytes);
      if (is_zero(block)) continue;
      digest.update(base::cat(offset + static_cast<off_t>(at), ":"));
      digest.update(block);
    }
  });
  return digest.finish();
}

std::string file_stamp(const base::Fd& file) {
  struct stat info {};
  if (::fstat(file.get(), &info) != 0) base::throw_errno("examining a file");
  return base::cat(info.st_ino, " ", info.st_size, " ", info.st_mtim.tv_sec, ".",
                   info.st_mtim.tv_nsec, " ", info.st_ctim.tv_sec, ".", info.st_ctim.tv_nsec);
}

}  // namespace storage
