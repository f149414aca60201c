#include "cli/command.h"
#include "cli/image_flags.h"
#include "cli/output.h"
#include "vm/image_use.h"

namespace cli {
namespace {

class Remover {
 public:
  Remover(vm::VmManager& manager, image::ImageStore& store, bool force)
      : manager_(manager), store_(store), force_(force) {}

  // As podman: a name goes; the image goes with its last name, or when it is named by its id.
  void remove(const image::ImageStore::Found& found) {
    const std::vector<std::string>& names = found.disk.names;
    if (!found.name.empty() && names.size() > 1) {
      store_.untag(found.name);
      print(base::cat("Untagged: ", found.name, "\n"));
      return;
    }
    if (found.name.empty() && names.size() > 1 && !force_) {
      throw base::Error(base::cat("unable to delete image ", base::quoted(found.disk.digest),
                                  " by ID with more than one tag"))
          .set_hint("give --force, or name one of them");
    }
    remove_whole(found.disk);
  }

  void remove_whole(const image::ImageDisk& disk) {
    const vm::ImageUsers users = users_of(disk);
    refuse_if_used(users, force_);
    for (const auto& vm : users.vms) manager_.remove(vm, true, std::nullopt);
    // Somebody may have begun to use it by now.
    while (!store_.remove(disk.digest, [&] { return !users_of(disk).none(); })) {
      refuse_if_used(users_of(disk), false);
    }
    for (const auto& name : disk.names) print(base::cat("Untagged: ", name, "\n"));
    print(base::cat("Deleted: ", disk.digest.substr(disk.digest.find(':') + 1), "\n"));
  }

 private:
  vm::ImageUsers users_of(const image::ImageDisk& disk) const {
    return vm::image_users(manager_.store(), disk.digest);
  }

  // With `but_for_vms` only for what is never removed for an image's sake.
  static void refuse_if_used(const vm::ImageUsers& users, bool but_for_vms) {
    if (!users.snapshots.empty()) {
      throw base::Error(
          base::cat("image is in use by the snapshot ", base::quoted(users.snapshots.front())))
          .set_hint(base::cat("remove it first: fcvm snapshot rm ", users.snapshots.front()));
    }
    for (const auto& vm : users.vms) {
      if (vm.status == vm::VmStatus::kCreating) {
        throw base::Error(base::cat("image used by ", vm.id, ": a VM that is being made"));
      }
      if (but_for_vms) continue;
      throw base::Error(base::cat("image used by ", vm.id, ": image is in use by a container"))
          .set_hint(base::cat("remove the VM ", vm.name, " first, or give --force"));
    }
  }

  vm::VmManager& manager_;
  image::ImageStore& store_;
  bool force_;
};

}  // namespace

int image_rm(Invocation& invocation) {
  bool all = false;
  bool force = false;
  bool ignore = false;
  Options options;
  options.flag("all,a", all, "Every image");
  options.flag("force,f", force, "Remove the VMs that use it, and all its names, first");
  options.flag("ignore,i", ignore, "An image that does not exist is no error");
  const auto names = invocation.parse(options, Order::kAnywhere);
  if (all && !names.empty()) throw UsageError("name images or give --all, not both");
  if (!all && names.empty()) throw UsageError("name at least one image");
  vm::VmManager manager = invocation.manager();
  image::ImageStore store(manager.store().data());
  Remover remover(manager, store, force);
  int status = 0;
  const auto attempt = [&](const auto& act) {
    try {
      act();
    } catch (const base::Error& error) {
      print_error(invocation.command->name, error);
      status = kFailed;
    }
  };
  if (all) {
    for (const auto& disk : store.list()) attempt([&] { remover.remove_whole(disk); });
  }
  for (const auto& name : names) {
    attempt([&] {
      const auto found = store.find(name);
      if (found) {
        remover.remove(*found);
      } else if (!ignore) {
        throw unknown_image(name);
      }
    });
  }
  return status;
}

}  // namespace cli
