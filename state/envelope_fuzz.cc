#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "state/envelope.h"

// What decodes must encode to something that decodes to the same.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes as characters.
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto envelope = state::decode_envelope(text);
  if (!envelope) return 0;
  const auto again = state::decode_envelope(state::encode_envelope(envelope.value()));
  if (!again || !(again.value() == envelope.value())) std::abort();
  return 0;
}
