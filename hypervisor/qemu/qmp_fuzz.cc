// Bytes as a VMM sends them, cut into pieces whose lengths the input's first byte decides.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/error.h"
#include "hypervisor/qemu/qmp.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t step = std::size_t{data[0]} + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  hypervisor::qemu::QmpFramer framer;
  nlohmann::json body;
  try {
    while (!rest.empty()) {
      framer.feed(rest.substr(0, step));
      rest.remove_prefix(std::min(step, rest.size()));
      std::string_view line;
      while (framer.next(line)) {
        try {
          hypervisor::qemu::parse_qmp_message(line, body);
        } catch (const base::Error&) {
        }
      }
    }
  } catch (const base::Error&) {
  }
  return 0;
}
