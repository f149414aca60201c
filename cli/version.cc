#include "base/version.h"

#include <sys/utsname.h>

#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/output.h"

namespace cli {

int version(Invocation& invocation) {
  bool json = false;
  Options options;
  options.flag("json", json, "Print a JSON object");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  utsname system{};
  ::uname(&system);
  if (json) {
    const nlohmann::json document{
        {"version", base::kVersion}, {"os", "linux"}, {"arch", system.machine}};
    print(document.dump(2) + '\n');
  } else {
    print(render_table({{"Version:", std::string(base::kVersion)},
                        {"OS/Arch:", base::cat("linux/", system.machine)}}));
  }
  return 0;
}

}  // namespace cli
