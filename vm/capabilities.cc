#include "vm/capabilities.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>

#include "base/error.h"

namespace vm {
namespace {

// By number, linux/capability.h.
constexpr std::array<std::string_view, kLastKnownCapability + 1> kNames = {
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE"};

constexpr std::string_view kAll = "ALL";

std::set<std::string> normalize(const std::vector<std::string>& names) {
  std::set<std::string> out;
  for (const std::string& given : names) {
    std::string name = given;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c; });
    if (name != kAll) {
      if (name.rfind("CAP_", 0) != 0) name.insert(0, "CAP_");
      if (std::find(kNames.begin(), kNames.end(), name) == kNames.end()) {
        throw base::Error(base::cat("unknown capability ", base::quoted(given)));
      }
    }
    out.insert(std::move(name));
  }
  return out;
}

}  // namespace

std::vector<std::string> all_capabilities(int last) {
  const auto count = static_cast<std::ptrdiff_t>(std::clamp(last, 0, kLastKnownCapability)) + 1;
  std::vector<std::string> out(kNames.begin(), kNames.begin() + count);
  std::sort(out.begin(), out.end());
  return out;
}

const std::vector<std::string>& default_capabilities() {
  static const std::vector<std::string> kDefault = {
      "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
      "CAP_KILL",    "CAP_NET_BIND_SERVICE", "CAP_SETFCAP",   "CAP_SETGID",
      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};
  return kDefault;
}

std::vector<std::string> merge_capabilities(const std::vector<std::string>& base,
                                            const std::vector<std::string>& add,
                                            const std::vector<std::string>& drop,
                                            const std::vector<std::string>& bounding) {
  const std::set<std::string> added = normalize(add);
  const std::set<std::string> dropped = normalize(drop);
  const bool add_all = added.contains(std::string(kAll));
  const bool drop_all = dropped.contains(std::string(kAll));
  if (add_all && drop_all) {
    throw base::Error("adding all capabilities and dropping all of them contradict each other");
  }

  std::set<std::string> result;
  if (drop_all) {
    result = added;
  } else if (add_all) {
    result.insert(bounding.begin(), bounding.end());
  } else {
    for (const std::string& name : added) {
      if (dropped.contains(name)) {
        throw base::Error(
            base::cat("capability ", base::quoted(name), " cannot be both added and dropped"));
      }
    }
    result = normalize(base);
    result.insert(added.begin(), added.end());
  }
  if (!drop_all) {
    for (const std::string& name : dropped) result.erase(name);
  }

  std::vector<std::string> out;
  for (const std::string& name : result) {
    if (std::find(bounding.begin(), bounding.end(), name) != bounding.end()) out.push_back(name);
  }
  return out;
}

}  // namespace vm
