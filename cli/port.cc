#include "cli/command.h"
#include "cli/output.h"

namespace cli {
namespace {

// "80" or "80/tcp".
void check_port(const std::string& text) {
  const auto slash = text.find('/');
  const std::string protocol = slash == std::string::npos ? "tcp" : text.substr(slash + 1);
  if (protocol != "tcp" && protocol != "udp" && protocol != "sctp") {
    throw UsageError(base::cat("unknown protocol ", base::quoted(protocol)));
  }
  const std::size_t port = parse_count(text.substr(0, slash));
  if (port == 0 || port > 65535) {
    throw UsageError(base::cat(base::quoted(text), " is no port"));
  }
}

}  // namespace

int port(Invocation& invocation) {
  bool all = false;
  Options options;
  options.flag("all,a", all, "Of every VM");
  const auto arguments = invocation.parse(options, Order::kAnywhere);
  if (all && !arguments.empty()) throw UsageError("name a VM or give --all, not both");
  if (!all && arguments.empty()) throw UsageError("name a VM");
  if (arguments.size() > 2) throw UsageError("name one VM, and one port at most");
  if (arguments.size() == 2) check_port(arguments[1]);
  const vm::VmManager manager = invocation.manager();
  // No VM has a network, so none has a port to print: podman prints nothing either for such a
  // container.
  if (!all) static_cast<void>(manager.find(arguments[0]));
  return 0;
}

}  // namespace cli
