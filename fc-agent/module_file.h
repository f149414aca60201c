#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace fc_agent {

// What a module's file holds that loading it is slow for and no guest of ours needs.

// How many bytes at the start of a module's file are the module: all but an appended signature
// (kernel documentation, admin-guide/module-signing).
std::size_t unsigned_size(std::string_view module_file);

// Has the kernel leave the tables of its stack unwinder (ORC) out of a module, by marking them in the
// file's section headers as nothing to be loaded and taking their names, by which it finds them. The
// kernel sorts these tables at every load, which under emulation is much of what loading costs;
// without them stack traces that cross the module are guesses. A file that is no 64-bit ELF, or a
// damaged one, stays as it is for the kernel to judge.
void leave_out_unwind_tables(std::span<char> module_file);

}  // namespace fc_agent
