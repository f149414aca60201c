// libuffd-shim.so, preloaded into the QEMU of a clone: where QEMU maps its guest's memory file, an
// empty memfd of its own, the shim maps the snapshot's memory instead, privately. So the page cache
// holds what clones have in common once, each has what it wrote, and QEMU, which believes that its
// memory is shared, neither opens the snapshot for writing nor punches holes into it.
//
// kShimVariable says what to do: "<mode> <fd> …". Mode `file`: guest memory's descriptor, the memory
// file's. System calls and libc only: it is loaded before QEMU's own libraries have run.

// Both names of mmap are defined here; the headers must not make them one.
#undef _FILE_OFFSET_BITS

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

int g_guest_memory = -1;
int g_memory_file = -1;

bool same_file(int a, int b) {
  struct stat first {};
  struct stat second {};
  return ::fstat(a, &first) == 0 && ::fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
         first.st_ino == second.st_ino;
}

void* map(void* address, size_t length, int protection, int flags, int fd, off_t offset) {
  // SAFETY: mmap(2) with the caller's arguments, or with another file of the same size.
  return reinterpret_cast<void*>(
      ::syscall(SYS_mmap, address, length, protection, flags, fd, offset));
}

void* map_guest_memory(void* address, size_t length, int protection, int flags, int fd,
                       off_t offset) {
  const bool is_guest_memory = fd >= 0 && g_guest_memory >= 0 && (flags & MAP_TYPE) == MAP_SHARED &&
                               same_file(fd, g_guest_memory);
  if (!is_guest_memory) return map(address, length, protection, flags, fd, offset);
  const int saved = errno;
  void* const mapped =
      map(address, length, protection, (flags & ~MAP_TYPE) | MAP_PRIVATE, g_memory_file, offset);
  if (mapped != MAP_FAILED) errno = saved;
  return mapped;
}

[[gnu::constructor]] void read_instructions() {
  const char* const text = ::getenv("FCVM_UFFD_SHIM");
  if (text == nullptr) return;
  if (std::sscanf(text, "file %d %d", &g_guest_memory, &g_memory_file) != 2) {
    // A guest that ran on anything else than its memory would be destroyed.
    std::fprintf(stderr, "uffd-shim: cannot follow '%s'\n", text);
    std::abort();
  }
  ::unsetenv("FCVM_UFFD_SHIM");
}

}  // namespace

extern "C" {

[[gnu::visibility("default")]] void* mmap(void* address, size_t length, int protection, int flags,
                                          int fd, off_t offset) noexcept {
  return map_guest_memory(address, length, protection, flags, fd, offset);
}

[[gnu::visibility("default")]] void* mmap64(void* address, size_t length, int protection, int flags,
                                            int fd, off_t offset) noexcept {
  return map_guest_memory(address, length, protection, flags, fd, offset);
}

}  // extern "C"
