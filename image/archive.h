// Archives of images as `podman load` takes them: several images with their names in one file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "image/image_store.h"
#include "image/reference.h"

namespace image {

struct ArchiveImage {
  Reference reference;
  std::vector<std::string> names;  // complete
  bool operator==(const ArchiveImage&) const = default;
};

// What manifest.json of a docker-archive, or index.json of an OCI layout, says. Both bytes come from
// an image: bounded, unknown members skipped. Throws base::Error.
std::vector<ArchiveImage> parse_docker_manifest(std::string_view json, const std::string& file);
std::vector<ArchiveImage> parse_oci_index(std::string_view json, const std::string& location,
                                          Transport transport);

// What an archive (docker's or OCI's, told by its content, also compressed) or a directory with an
// OCI layout holds. Throws base::Error.
std::vector<ArchiveImage> read_archive(const std::string& path,
                                       const base::Cancellation* cancellation = nullptr);

// Makes the disks of all images in an archive and remembers their names, which are in the result.
// Throws base::Error in the context "loading '…'", and base::Cancelled.
std::vector<ImageDisk> load_archive(ImageStore& store, const std::string& path,
                                    const EnsureOptions& options);
// The same of what can be read from `fd`, kept in a temporary file meanwhile.
std::vector<ImageDisk> load_stream(ImageStore& store, int fd, const EnsureOptions& options);

}  // namespace image
