// The JSON messages of both sides. What a parser accepts must survive being written and read again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "wire/boot_plan.h"
#include "wire/control.h"
#include "wire/helper.h"
#include "wire/process.h"
#include "wire/process_list.h"

namespace {

template <typename Parse>
void check(std::string_view text, Parse parse) {
  try {
    const auto written = to_json(parse(text));
    if (to_json(parse(written)) != written) __builtin_trap();
  } catch (const base::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (static_cast<std::uint8_t>(data[0] - 'F') % 9) {
    case 0:
      check(text, wire::parse_boot_plan);
      break;
    case 1:
      check(text, wire::parse_boot_event);
      break;
    case 2:
      check(text, wire::parse_process_start);
      break;
    case 3:
      check(text, wire::parse_process_command);
      break;
    case 4:
      check(text, wire::parse_process_event);
      break;
    case 5:
      check(text, wire::parse_control_request);
      break;
    case 7:
      check(text, wire::parse_helper_request);
      break;
    case 8:
      check(text, wire::parse_process_list);
      break;
    default:
      check(text, wire::parse_control_reply);
  }
  return 0;
}
