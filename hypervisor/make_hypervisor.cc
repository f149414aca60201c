#include "base/error.h"
#include "hypervisor/hypervisor.h"
#include "hypervisor/qemu/qemu.h"

namespace hypervisor {

std::unique_ptr<Hypervisor> make_hypervisor(const std::string& choice) {
  if (choice == "auto" || choice == "qemu") return qemu::make_qemu();
  base::Error error(base::cat("this build has no hypervisor ", base::quoted(choice)));
  error.set_hint("it has: qemu");
  throw error;
}

}  // namespace hypervisor
