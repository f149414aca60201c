// Container images made by tests, byte by byte: also such as no tool would make.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace image::testing {

// tar(5), POSIX ustar with GNU long names.
struct TarEntry {
  std::string name;
  std::string content;
  char type = '0';  // '1' hard link, '2' symlink, '3' and '4' devices, '5' directory, '6' FIFO
  std::string link;
  unsigned mode = 0644;
  unsigned uid = 0;
  unsigned gid = 0;
  unsigned major = 0;
  unsigned minor = 0;
};

std::string make_tar(const std::vector<TarEntry>& entries);

TarEntry directory(const std::string& name, unsigned mode = 0755);
TarEntry file(const std::string& name, const std::string& content, unsigned mode = 0644);
TarEntry symlink(const std::string& name, const std::string& target);
TarEntry hard_link(const std::string& name, const std::string& target);
TarEntry whiteout(const std::string& name);          // deletes `name` of the layers below
TarEntry opaque(const std::string& directory_name);  // hides the directory of the layers below

struct ArchiveOptions {
  // Members of the `config` object, "\"Cmd\":[\"sh\"]".
  std::string config = "\"Cmd\":[\"sh\"]";
  std::string architecture = "amd64";
  std::string os = "linux";
  bool wrong_diff_id = false;   // the first layer has another digest than the configuration says
  bool layers_missing = false;  // named, but not in the archive
  bool compressed = false;      // layers by gzip
};

// What `docker save` makes: for docker-archive:FILE. `layers` are tars, bottom first.
std::string make_docker_archive(const std::vector<std::string>& layers,
                                const ArchiveOptions& options = {});

// An OCI image layout (image-spec, image-layout.md), as a tar: for oci-archive:FILE.
std::string make_oci_archive(const std::vector<std::string>& layers,
                             const ArchiveOptions& options = {});

}  // namespace image::testing
