// The default seccomp profile of containers, as the distribution's Podman has it: the file
// seccomp.json of package golang-github-containers-common, unpacked and never installed.
#pragma once

#include <string>

#include "image/packages.h"
#include "image/progress.h"
#include "storage/data_directory.h"

namespace base {
class Cancellation;
}

namespace image {

// Puts the profile into `data`. Does nothing when it is there, unless `force`. Throws base::Error
// and base::Cancelled.
void ensure_seccomp_profile(const storage::DataDirectory& data, PackageArchive& packages,
                            bool force, const ProgressCallback& progress,
                            const base::Cancellation* cancellation);

// Its text. Throws base::Error with the hint to run `fcvm setup` when it is not there.
std::string seccomp_profile(const storage::DataDirectory& data);

}  // namespace image
