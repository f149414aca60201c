#include "cli/command.h"
#include "vm/copy.h"

namespace cli {
namespace {

// "VM:PATH"; the VM is empty for a path of this host.
struct Place {
  std::string vm;
  std::string path;
};

Place parse_place(const std::string& text) {
  const auto colon = text.find(':');
  if (colon == std::string::npos || text.starts_with('/') || text.starts_with('.')) {
    return {"", text};
  }
  if (colon == 0) throw UsageError(base::cat(base::quoted(text), " names no VM"));
  return {text.substr(0, colon), text.substr(colon + 1)};
}

}  // namespace

int cp(Invocation& invocation) {
  vm::CopyOptions copy;
  Options options;
  options.flag("archive,a", copy.change_owner,
               "Give what is copied to the container's user, or to you, which is the default; with "
               "=false owners stay");
  options.flag("overwrite", copy.overwrite, "A directory may replace a file, and the reverse");
  const auto arguments = invocation.parse(options, Order::kAnywhere);
  if (arguments.size() != 2) throw UsageError("it takes a source and a destination");
  const Place source = parse_place(arguments[0]);
  const Place destination = parse_place(arguments[1]);
  if (source.vm.empty() == destination.vm.empty()) {
    throw UsageError(source.vm.empty() ? "one of the two has to be VM:PATH"
                                       : "one of the two has to be of this host");
  }
  if (source.path.empty() || destination.path.empty()) throw UsageError("a path is missing");
  const vm::VmManager manager = invocation.manager();
  if (destination.vm.empty()) {
    vm::copy_from_vm(manager, manager.find(source.vm), source.path, destination.path, copy);
  } else {
    vm::copy_to_vm(manager, manager.find(destination.vm), source.path, destination.path, copy);
  }
  return 0;
}

}  // namespace cli
