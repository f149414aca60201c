// The distribution's packages: downloaded and verified by apt, unpacked by dpkg-deb, never installed.
#pragma once

#include <string>
#include <vector>

#include "image/progress.h"

namespace base {
class Cancellation;
}

namespace image {

struct PackageFile {
  std::string name;
  std::string version;
  std::string path;    // of the .deb
  std::string sha256;  // of the .deb, as the archive's signed index has it
};

// One view of the package archive. It uses the system's package lists where they are good, and
// otherwise lists of its own in `directory`/apt, which an ordinary user can update too. Downloads
// stay in `directory`/debs: what is there with the right checksum is not downloaded again.
// All throw base::Error (with the last line apt said) and base::Cancelled.
class PackageArchive {
 public:
  // `directory` is made when missing.
  PackageArchive(std::string directory, ProgressCallback progress,
                 const base::Cancellation* cancellation = nullptr);

  // `names` and everything they depend on (Depends and Pre-Depends; the first of alternatives that
  // exists), sorted.
  std::vector<std::string> closure(const std::vector<std::string>& names);

  // The package that holds the kernel itself, from the name of one or of a meta package
  // ("linux-image-cloud-amd64").
  std::string kernel_package(const std::string& name);

  // The newest version of each.
  std::vector<PackageFile> fetch(const std::vector<std::string>& names);

 private:
  std::vector<std::string> apt_options() const;
  std::string apt(const std::string& program, std::vector<std::string> arguments,
                  const std::string& working_directory = {});
  std::string apt_or_update(const std::string& program, const std::vector<std::string>& arguments,
                            const std::string& working_directory = {});
  void update_private_lists();

  std::string directory_;
  ProgressCallback progress_;
  const base::Cancellation* cancellation_;
  bool private_lists_ = false;
  bool updated_ = false;
};

// Unpacks the files of a .deb into `directory`.
void unpack_package(const std::string& deb_path, const std::string& directory,
                    const base::Cancellation* cancellation = nullptr);

// ID and VERSION_ID of os-release(5), as "debian" and "12"; "linux" and "" where there is none.
struct Distribution {
  std::string id;
  std::string version;
};
Distribution host_distribution();

}  // namespace image
