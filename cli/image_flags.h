// What the commands about images share.
#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "cli/options.h"
#include "image/image_store.h"

namespace cli {

// The flags that say where an image comes from and which of its variants is meant.
class SourceFlags {
 public:
  // `this` must outlive `options`.
  void declare(Options& options);
  // After parsing. Throws base::Error for what contradicts itself and for a file that is not there.
  void finish(image::EnsureOptions& ensure) const;

 private:
  image::RegistryAccess access_;
  image::Platform platform_;
  std::string whole_platform_;
  bool tls_verify_ = true;
};

// "7a80323521cc" of "sha256:7a80323521ccd4c2…".
std::string short_image_id(const std::string& digest);

// The line podman writes for an image that is not there.
base::Error unknown_image(const std::string& name);

}  // namespace cli
