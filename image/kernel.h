// Guest kernels: an uncompressed ELF vmlinux and the modules the agent needs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "image/progress.h"
#include "storage/data_directory.h"

namespace base {
class Cancellation;
}

namespace image {

struct Kernel {
  std::string path;     // of the ELF vmlinux
  std::string release;  // as uname -r has it: "6.1.0-56-cloud-amd64"; empty where unknown
  std::string digest;   // SHA-256 of the vmlinux, hexadecimal
  // Modules to load before the agent can see disks and the guest link, in load order. Absolute
  // paths of uncompressed .ko files. Empty for a kernel that has everything built in.
  std::vector<std::string> modules;
};

// The modules the agent needs where the kernel has not built them in.
const std::vector<std::string>& required_module_names();

// The kernel of a VM: `data`'s default one when `path` is empty. A path outside the data directory
// is taken as an ELF vmlinux that needs no modules. Throws base::Error, with the hint to run `fcvm
// setup` when there is no default kernel.
Kernel load_kernel(const storage::DataDirectory& data, const std::string& path = {});

// Puts the kernel of an unpacked kernel package (boot/vmlinuz-*, lib/modules/*) into
// kernels/<distribution>/<version>/ and returns it. Does nothing when it is there.
Kernel install_kernel_tree(const storage::DataDirectory& data, const std::string& tree,
                           const std::string& distribution, const std::string& version);

// Imports a vmlinux, a bzImage or a kernel .deb into kernels/imported/<digest>/. Modules come from
// the .deb, or from /lib/modules/<release> for a kernel of this host.
Kernel import_kernel(const storage::DataDirectory& data, const std::string& file,
                     const base::Cancellation* cancellation = nullptr);

// Makes it the one that load_kernel takes by default.
void set_default_kernel(const storage::DataDirectory& data, const Kernel& kernel);

// The ELF inside `image`: a bzImage (linux/Documentation/arch/x86/boot.rst: payload_offset and
// payload_length; LZ4, gzip, xz, zstd, lzma or bzip2 payloads), or `image` itself when it is an ELF.
// Throws base::Error for anything else, for output over 512 MiB, and for an ELF without the PVH
// note (XEN_ELFNOTE_PHYS32_ENTRY) that a microVM's loader starts it by.
std::string extract_vmlinux(std::string_view image);

// The kernel release a bzImage or an ELF vmlinux names; empty when there is none.
std::string kernel_release(std::string_view image);

}  // namespace image
