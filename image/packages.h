// The distribution's packages: downloaded and verified by apt, unpacked by dpkg-deb, never installed.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
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
  // exists), sorted. Dependencies in `without` are left out, and what only they would bring.
  std::vector<std::string> closure(const std::vector<std::string>& names,
                                   const std::vector<std::string>& without = {});

  // The package that holds the kernel itself, from the name of one or of a meta package
  // ("linux-image-cloud-amd64").
  std::string kernel_package(const std::string& name);

  // The newest version of each.
  std::vector<PackageFile> fetch(const std::vector<std::string>& names);

 private:
  // Runs apt-get or apt-cache; where that fails, updates lists of our own and runs it again on
  // those. Returns its stdout.
  std::string apt(const std::vector<std::string>& command,
                  const std::string& working_directory = "/",
                  const std::function<void()>& tick = {});
  std::string apt_once(const std::vector<std::string>& command,
                       const std::string& working_directory, const std::function<void()>& tick);
  void update_private_lists();

  std::string directory_;
  ProgressCallback progress_;
  const base::Cancellation* cancellation_;
  bool private_lists_ = false;
};

// The dependency rule of closure(), on what `apt-cache depends --recurse` prints.
std::vector<std::string> resolve_closure(const std::string& apt_cache_output,
                                         const std::vector<std::string>& names,
                                         const std::vector<std::string>& without = {});

// One line of `apt-get download --print-uris`; empty when it is another kind of line.
struct PackageUri {
  std::string file;  // "crun_1.8.1-1_amd64.deb"
  std::uint64_t bytes = 0;
  std::string sha256;
};
std::optional<PackageUri> parse_package_uri(const std::string& line);

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
