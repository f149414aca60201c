// A guest that sends whatever it likes: the host's end of the link.
#include "wire/detail/mux_fuzz.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  return wire::detail::fuzz_mux_link(wire::Side::kHost, data, size);
}
