#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace base {

struct MountInfo {
  std::string mount_point;
  std::string fs_type;
  std::string source;
};

// From /proc/self/mountinfo (proc(5)), in mount order. `path` itself and what lies below it.
std::vector<MountInfo> mounts_below(const std::string& path);

// mount(2) and umount2(2) with base::Error.
void mount_fs(const std::string& source, const std::string& target, const std::string& fs_type,
              unsigned long flags, const std::string& data = {});
void unmount(const std::string& target, int flags = 0);

// Unmounts `target` when destroyed (MNT_DETACH), unless released.
class MountGuard {
 public:
  MountGuard() = default;
  explicit MountGuard(std::string target) : target_(std::move(target)) {}
  MountGuard(MountGuard&& other) noexcept : target_(std::move(other.target_)) {
    other.target_.clear();
  }
  MountGuard& operator=(MountGuard&& other) noexcept;
  ~MountGuard() { reset(); }
  void reset() noexcept;
  void release() { target_.clear(); }
  const std::string& target() const { return target_; }

 private:
  std::string target_;
};

}  // namespace base
