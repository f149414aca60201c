// Local OCI images with their layers decompressed. skopeo decompresses a layer twice, once for its
// digest and once for its files, and one layer after the other; gzip(1) does it once, for several at
// a time.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "image/oci_manifest.h"
#include "image/reference.h"

namespace base {
class Cancellation;
}

namespace image {

class PlainLayers {
 public:
  struct Options {
    std::uint64_t max_file_bytes = 0;  // RLIMIT_FSIZE of what decompresses; 0: none
    // Called a few times a second; a text ends it and becomes the error.
    std::function<std::optional<std::string>()> tick;
    const base::Cancellation* cancellation = nullptr;
  };

  // Empty unless `reference` is an "oci:" or "oci-archive:" of the plainest kind: one manifest that
  // is meant, layers that are tars, gzip'd or not. Anything else, what is damaged too, is for skopeo
  // to read and to complain about.
  static std::optional<PlainLayers> find(const Reference& reference);

  // The image configuration, as its bytes are; its SHA-256 is what the manifest says.
  const std::string& config() const { return config_; }

  // Makes an OCI layout in `directory`, which is new, of the same configuration and decompressed
  // layers, named by the digests the configuration has for them: nobody has compared these yet.
  // Empty when a layer cannot be read. Throws base::Error with a text of `tick`, and base::Cancelled.
  std::optional<Reference> write(const std::string& directory, const Options& options) const;

 private:
  explicit PlainLayers(Reference source) : source_(std::move(source)) {}
  bool read();
  std::optional<std::string> read_small(const std::string& name) const;
  std::optional<std::string> read_blob(const std::string& digest) const;

  Reference source_;
  std::string config_;
  OciManifest manifest_;
  std::vector<std::string> diff_ids_;
};

}  // namespace image
