// `fcvm cp` and `fcvm top`: what needs a look into a running container.
#pragma once

#include <string>

#include "vm/vm_manager.h"
#include "wire/process_list.h"

namespace vm {

struct CopyOptions {
  // What is copied belongs to the container's user there, to the calling user here; otherwise to
  // whom it belonged.
  bool change_owner = true;
  bool overwrite = false;
};

// Between a running container and this host (wire/tree.h). A `container_path` that is not absolute
// begins where the container's process began. For `host_path` "-" an archive goes to stdout, or comes
// from stdin. All block, and throw base::Error, and Interrupted (vm/helper_session.h) when a signal ends
// them.
void copy_from_vm(const VmManager& manager, const VmRecord& record,
                  const std::string& container_path, const std::string& host_path,
                  const CopyOptions& options);
void copy_to_vm(const VmManager& manager, const VmRecord& record, const std::string& host_path,
                const std::string& container_path, const CopyOptions& options);

wire::ProcessList container_processes(const VmManager& manager, const VmRecord& record);

}  // namespace vm
