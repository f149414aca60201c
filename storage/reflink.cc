#include "storage/reflink.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <span>

#include "base/error.h"
#include "base/rollback.h"

namespace storage {
namespace {

// Errors that say "this pair of files cannot share extents", as opposed to a failure.
bool means_no_reflink(int errnum) {
  return errnum == EOPNOTSUPP || errnum == EXDEV || errnum == EINVAL || errnum == ENOTTY ||
         errnum == ENOSYS || errnum == ETXTBSY;
}

void copy_by_buffer(const base::Fd& source, const base::Fd& destination, off_t offset, off_t end) {
  std::array<std::byte, 128 << 10> buffer;
  while (offset < end) {
    const auto want = std::min<std::size_t>(buffer.size(), static_cast<std::size_t>(end - offset));
    const ssize_t got = ::pread(source.get(), buffer.data(), want, offset);
    if (got < 0) {
      if (errno == EINTR) continue;
      base::throw_errno("reading the source of a copy");
    }
    if (got == 0) return;  // it was truncated meanwhile: the rest stays a hole
    for (ssize_t done = 0; done < got;) {
      const ssize_t put = ::pwrite(destination.get(), buffer.data() + done,
                                   static_cast<std::size_t>(got - done), offset + done);
      if (put < 0) {
        if (errno == EINTR) continue;
        base::throw_errno("writing a copy");
      }
      done += put;
    }
    offset += got;
  }
}

void copy_extent(const base::Fd& source, const base::Fd& destination, off_t offset, off_t end) {
  while (offset < end) {
    off_t in = offset;
    off_t out = offset;
    const ssize_t copied =
        ::copy_file_range(source.get(), &in, destination.get(), &out,
                          static_cast<std::size_t>(std::min<off_t>(end - offset, 1 << 30)), 0);
    if (copied < 0) {
      if (errno == EINTR) continue;
      // COMPAT(kernel 5.19): before it, and between some file systems still, only the long way works.
      if (means_no_reflink(errno)) return copy_by_buffer(source, destination, offset, end);
      base::throw_errno("writing a copy");
    }
    if (copied == 0) return;
    offset += copied;
  }
}

void sparse_copy(const base::Fd& source, const base::Fd& destination, off_t size) {
  if (::ftruncate(destination.get(), size) < 0) base::throw_errno("setting the size of a copy");
  off_t offset = 0;
  while (offset < size) {
    const off_t data = ::lseek(source.get(), offset, SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) return;  // only a hole is left
      base::throw_errno("finding the data of a file to copy");
    }
    const off_t hole = ::lseek(source.get(), data, SEEK_HOLE);
    if (hole < 0) base::throw_errno("finding the holes of a file to copy");
    copy_extent(source, destination, data, std::min(hole, size));
    offset = hole;
  }
}

}  // namespace

CopyMethod reflink_or_copy(const base::Fd& source, const base::Fd& destination) {
  struct stat info {};
  if (::fstat(source.get(), &info) < 0) base::throw_errno("inspecting the source of a copy");
  if (!S_ISREG(info.st_mode)) throw base::Error(EINVAL, "copying something that is no plain file");
  // SAFETY: FICLONE takes the source descriptor as its argument; both descriptors are open.
  if (::ioctl(destination.get(), FICLONE, source.get()) == 0) return CopyMethod::kReflink;
  if (!means_no_reflink(errno)) base::throw_errno("sharing the extents of a file");
  sparse_copy(source, destination, info.st_size);
  return CopyMethod::kSparseCopy;
}

CopyMethod reflink_or_copy(const std::string& source, const std::string& destination, mode_t mode) {
  return base::with_context(
      base::cat("copying ", base::quoted(source), " to ", base::quoted(destination)), [&] {
        const base::Fd from = base::open_file(source, O_RDONLY);
        const base::Fd to = base::open_file(destination, O_RDWR | O_CREAT | O_EXCL, mode);
        base::Rollback rollback;
        rollback.push([&] { ::unlink(destination.c_str()); });
        const CopyMethod method = reflink_or_copy(from, to);
        rollback.commit();
        return method;
      });
}

bool supports_reflink(const std::string& directory) {
  const auto temporary = [&] {
    base::Fd fd = base::try_open_file(directory, O_RDWR | O_TMPFILE, 0600);
    if (fd) return fd;
    std::string name = directory + "/.probe-XXXXXX";
    fd = base::Fd(::mkostemp(name.data(), O_CLOEXEC));
    if (!fd) base::throw_errno("creating a file in", directory);
    ::unlink(name.c_str());
    return fd;
  };
  const base::Fd source = temporary();
  const base::Fd destination = temporary();
  base::write_all(source, std::string(4096, 'x'));
  // SAFETY: as above.
  if (::ioctl(destination.get(), FICLONE, source.get()) == 0) return true;
  if (!means_no_reflink(errno)) base::throw_errno("probing for reflinks in", directory);
  return false;
}

SharedBytes shared_bytes(const std::string& path) {
  constexpr std::size_t kExtents = 256;
  const base::Fd file = base::open_file(path, O_RDONLY);
  SharedBytes bytes;
  // SAFETY: struct fiemap with room for fm_extent_count extents behind it.
  std::vector<std::uint64_t> buffer(
      (sizeof(fiemap) + kExtents * sizeof(fiemap_extent)) / sizeof(std::uint64_t) + 1);
  auto* const map = reinterpret_cast<fiemap*>(buffer.data());
  std::uint64_t at = 0;
  for (bool last = false; !last;) {
    std::fill(buffer.begin(), buffer.end(), 0);
    map->fm_start = at;
    map->fm_length = ~std::uint64_t{0} - at;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = kExtents;
    if (::ioctl(file.get(), FS_IOC_FIEMAP, map) != 0) {
      if (errno == EOPNOTSUPP || errno == ENOTTY) return {0, allocated_bytes(path)};
      base::throw_errno("listing the extents of", path);
    }
    last = map->fm_mapped_extents == 0;
    for (std::uint32_t i = 0; i < map->fm_mapped_extents; ++i) {
      const fiemap_extent& extent = map->fm_extents[i];
      (((extent.fe_flags & FIEMAP_EXTENT_SHARED) != 0) ? bytes.shared : bytes.exclusive) +=
          extent.fe_length;
      at = extent.fe_logical + extent.fe_length;
      last = last || (extent.fe_flags & FIEMAP_EXTENT_LAST) != 0;
    }
  }
  return bytes;
}

std::uint64_t allocated_bytes(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) < 0) base::throw_errno("inspecting", path);
  return static_cast<std::uint64_t>(info.st_blocks) *
         512;  // stat(2): st_blocks is in 512-byte units
}

}  // namespace storage
