#include "base/mount.h"

#include <sys/mount.h>

#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace base {
namespace {

// mountinfo writes space, tab, newline and backslash as three octal digits.
std::string unescape(const std::string& field) {
  std::string out;
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] == '\\' && i + 3 < field.size()) {
      out += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 +
                               (field[i + 3] - '0'));
      i += 3;
    } else {
      out += field[i];
    }
  }
  return out;
}

}  // namespace

std::vector<MountInfo> mounts_below(const std::string& path) {
  std::vector<MountInfo> found;
  std::istringstream lines(read_file("/proc/self/mountinfo"));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string skip;
    std::string point;
    fields >> skip >> skip >> skip >> skip >> point;
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream rest(line.substr(dash + 3));
    MountInfo info;
    rest >> info.fs_type >> info.source;
    info.mount_point = unescape(point);
    info.source = unescape(info.source);
    if (info.mount_point == path || info.mount_point.starts_with(path + "/")) {
      found.push_back(std::move(info));
    }
  }
  return found;
}

void mount_fs(const std::string& source, const std::string& target, const std::string& fs_type,
              unsigned long flags, const std::string& data) {
  if (::mount(source.c_str(), target.c_str(), fs_type.empty() ? nullptr : fs_type.c_str(), flags,
              data.empty() ? nullptr : data.c_str()) != 0) {
    throw_errno(cat("mounting ", quoted(source), " on"), target);
  }
}

void unmount(const std::string& target, int flags) {
  if (::umount2(target.c_str(), flags) != 0) throw_errno("unmounting", target);
}

MountGuard& MountGuard::operator=(MountGuard&& other) noexcept {
  if (this != &other) {
    reset();
    target_ = std::exchange(other.target_, {});
  }
  return *this;
}

void MountGuard::reset() noexcept {
  if (!target_.empty()) ::umount2(std::exchange(target_, {}).c_str(), MNT_DETACH);
}

}  // namespace base
