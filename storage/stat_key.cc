#include "storage/stat_key.h"

#include <sys/stat.h>

#include "base/digest.h"
#include "base/error.h"

namespace storage {

std::string stat_key(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) < 0) base::throw_errno("inspecting", path);
  return base::sha256(base::cat(path, '\n', info.st_dev, ' ', info.st_ino, ' ', info.st_size, ' ',
                                info.st_mtim.tv_sec, '.', info.st_mtim.tv_nsec, ' ',
                                info.st_ctim.tv_sec, '.', info.st_ctim.tv_nsec));
}

}  // namespace storage
