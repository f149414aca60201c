#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace image {

// The modules of an unpacked kernel, found without modules.dep: depmod makes that when a package is
// installed, and ours never is.
//
// `directory` is lib/modules/<release>. Returns the files of `names` and of all they depend on, in
// load order. Names that the kernel has built in (modules.builtin) are left out, and so are
// `optional` ones it does not have at all. Throws base::Error when another is missing, a module is
// no ELF file or dependencies form a ring.
std::vector<std::string> module_closure(const std::string& directory,
                                        const std::vector<std::string>& names,
                                        const std::vector<std::string>& optional);

// The names after "depends=" in the .modinfo section of a module.
std::vector<std::string> module_dependencies(std::string_view module);

// The content of a module file, decompressed by its suffix (.ko, .ko.gz, .ko.xz, .ko.zst).
std::string read_module(const std::string& path);

}  // namespace image
