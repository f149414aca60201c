#include <unistd.h>

#include "cli/command.h"
#include "cli/image_flags.h"
#include "cli/output.h"
#include "vm/image_use.h"

namespace cli {
namespace {

// As podman: anything but a line that begins with y is a no.
bool confirmed(bool all) {
  print(base::cat(
      "WARNING! This command removes ",
      all ? "all images without at least one VM associated with them" : "all dangling images",
      ".\nAre you sure you want to continue? [y/N] "));
  char first = 0;
  char c = 0;
  while (::read(STDIN_FILENO, &c, 1) == 1 && c != '\n') {
    if (first == 0) first = c;
  }
  return first == 'y' || first == 'Y';
}

}  // namespace

int image_prune(Invocation& invocation) {
  bool all = false;
  bool force = false;
  Options options;
  options.flag("all,a", all, "Also images that have a name");
  options.flag("force,f", force, "Do not ask");
  if (!invocation.parse(options, Order::kAnywhere).empty()) {
    throw UsageError("it takes no arguments");
  }
  vm::VmManager manager = invocation.manager();
  image::ImageStore store(manager.store().data());
  if (!force && !confirmed(all)) return 0;
  std::uint64_t reclaimed = 0;
  int status = 0;
  for (const auto& disk : store.list()) {
    if (!all && !disk.names.empty()) continue;
    const auto used = [&] { return !vm::image_users(manager.store(), disk.digest).none(); };
    try {
      if (used()) continue;
      // Once more when nobody can begin to use it: the others took their time.
      const auto bytes = store.remove(
          disk.digest, [&] { return used() || (!all && !store.get(disk.digest).names.empty()); });
      if (!bytes) continue;
      reclaimed += *bytes;
      print(disk.digest.substr(disk.digest.find(':') + 1) + '\n');
    } catch (const base::Error& error) {
      print_error(invocation.command->name, error);
      status = kFailed;
    }
  }
  store.sweep_names();
  print(base::cat("Total reclaimed space: ", human_bytes(reclaimed), "\n"));
  return status;
}

}  // namespace cli
