// The command line of podman(1) in the guest for a container: what the flags of `fcvm podman run` and
// the facts of the VM are in podman's own words.
#pragma once

#include <string>
#include <vector>

#include "image/image_meta.h"
#include "vm/bundle.h"
#include "vm/run_options.h"

namespace vm {

// Arguments behind "podman" that make the container and start it. `bundle` is make_bundle's for the
// same options: of it come the files the engine binds into the container, and the seccomp filter that
// was compiled on the host.
std::vector<std::string> podman_arguments(const image::ImageMeta& image, const RunOptions& options,
                                          const GuestFacts& facts, const BundleFiles& bundle);

}  // namespace vm
