// Input: a user specification, a NUL, passwd, a NUL, group.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "base/error.h"
#include "base/user_lookup.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  const auto next = [&rest] {
    const std::size_t end = rest.find('\0');
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    return part;
  };
  const std::string_view spec = next();
  const std::string_view passwd = next();
  const std::string_view group = next();
  try {
    const base::UserInfo user = base::lookup_user(spec, passwd, group);
    constexpr std::uint32_t kMax = 2147483647;
    if (user.uid > kMax || user.gid > kMax || user.groups.size() > base::kMaxGroups) std::abort();
    const base::UserFileLines lines = base::missing_user_lines(spec, passwd, group, "/w");
    for (const std::string& line : {lines.passwd, lines.group}) {
      // One line, whole, or none: nothing of the input may start another entry.
      if (!line.empty() && line.find('\n') != line.size() - 1) std::abort();
    }
  } catch (const base::Error&) {
  }
  return 0;
}
