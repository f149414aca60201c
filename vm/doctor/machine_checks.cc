#include <cstdlib>

#include "base/error.h"
#include "base/process.h"
#include "hypervisor/host_cpu.h"
#include "hypervisor/hypervisor.h"
#include "vm/doctor/checks.h"

namespace vm {
namespace {

constexpr char kCostOfTcg[] = "guests run under tcg, several times slower";

Check cpu_check(const hypervisor::HostCpu& cpu) {
  const std::string found =
      base::cat(cpu.count, " x ", cpu.model.empty() ? cpu.machine : cpu.model);
  if (cpu.machine != "x86_64") {
    return prevented("cpu", base::cat(cpu.machine, ": this version runs on x86_64 only"),
                     "no container runs", "");
  }
  if (cpu.virtualization.empty()) {
    return degraded(
        "cpu", base::cat(found, ", no hardware virtualization (neither vmx nor svm)"), kCostOfTcg,
        "turn on VT-x or AMD-V in the firmware, or nested virtualization where this is a VM");
  }
  return ok("cpu", base::cat(found, ", ", cpu.virtualization));
}

// The two accelerators; one of them is enough.
std::vector<Check> accelerator_checks(const hypervisor::Hypervisor& qemu) {
  const hypervisor::Capabilities can = qemu.probe();
  std::string no_kvm = can.kvm_why_not;
  std::string no_tcg = can.tcg_why_not;
  if (no_kvm.empty()) no_kvm = qemu.why_not_starting(hypervisor::Accel::kKvm);
  if (no_tcg.empty()) no_tcg = qemu.why_not_starting(hypervisor::Accel::kTcg);
  const std::string install = "apt-get install qemu-system-x86";

  std::vector<Check> checks;
  if (no_kvm.empty()) {
    checks.push_back(ok("kvm", "/dev/kvm makes VMs"));
  } else {
    checks.push_back(missing("kvm", no_kvm, kCostOfTcg, can.usable ? can.kvm_hint : install));
  }
  if (no_tcg.empty()) {
    checks.push_back(ok("tcg", base::cat(can.program, " ", qemu.version())));
  } else if (no_kvm.empty()) {
    checks.push_back(missing("tcg", no_tcg, "nothing while kvm works", install));
  } else {
    checks.push_back(prevented("tcg", no_tcg, "no container runs", install));
  }
  return checks;
}

Check firecracker_check() {
  const char* named = std::getenv("FCVM_FIRECRACKER_BIN");
  const std::string name = named != nullptr && named[0] != '\0' ? named : "firecracker";
  const std::string path = base::find_program(name);
  const char cost[] = "nothing: guests run in QEMU";
  if (path.empty()) {
    return missing("firecracker", base::cat(name, " is not there, and not in this version yet"),
                   cost, "");
  }
  return degraded("firecracker", base::cat(path, ", not in this version yet"), cost, "");
}

Check programs_check() {
  std::string found;
  for (const char* name : {"fcvm-monitor", "fc-agent"}) {
    try {
      found += base::cat(found.empty() ? "" : ", ", base::find_own_program(name));
    } catch (const base::Error& error) {
      return prevented("programs", error.what(), "no container runs",
                       "install fcvm again, or correct FCVM_LIBEXEC_DIR");
    }
  }
  return ok("programs", found);
}

}  // namespace

std::vector<Check> machine_checks() {
  std::vector<Check> checks{cpu_check(hypervisor::host_cpu())};
  for (Check& check : accelerator_checks(*hypervisor::make_hypervisor("qemu"))) {
    checks.push_back(std::move(check));
  }
  checks.push_back(firecracker_check());
  checks.push_back(programs_check());
  return checks;
}

}  // namespace vm
