// A directory that exists as long as the object.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace tests {

// Creates a new directory, mode 0700, below $TMPDIR (else /tmp) and removes it with everything in
// it when destroyed. Removal does not cross mounts: unmount first. Not copyable, movable.
class TempDir {
 public:
  // Throws std::system_error when the directory cannot be made.
  TempDir();
  TempDir(TempDir&& other) noexcept;
  TempDir& operator=(TempDir&& other) noexcept;
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }

  // Writes `content` to the file `name` below the directory, making directories on the way; returns
  // its path. Throws std::system_error on failure.
  std::filesystem::path write(std::string_view name, std::string_view content) const;

 private:
  std::filesystem::path path_;
};

// The whole content of `file`. Throws std::system_error when it cannot be read.
std::string read_file(const std::filesystem::path& file);

}  // namespace tests
