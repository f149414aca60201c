#pragma once

#include <string>
#include <vector>

#include "base/error.h"
#include "state/store.h"
#include "storage/data_directory.h"
#include "vm/vm_record.h"

namespace vm {

// Where a VM's things lie. Each of the two folders of a VM is garbage once there is no record of it:
// the record is made before them and removed after them.
struct VmPaths {
  VmPaths(const storage::DataDirectory& data, const std::string& id);

  std::string disks;  // <data>/vm-disks/<id>, 0700; the rest lies in it
  std::string root_disk;
  std::string launch_plan;
  std::string exec_base;    // what exec needs to know of the bundle (vm/bundle.h)
  std::string log;          // of the container (vm/monitor/log_file.h)
  std::string console_log;  // of the guest's kernel
  std::string monitor_log;
  std::string run;  // <run>/<id>, 0700, on a tmpfs
  std::string monitor_socket;
};

// The records of VMs, typed; and taking a VM apart, which commands and monitors both do.
class VmStore {
 public:
  explicit VmStore(const storage::DataDirectory& data);

  const storage::DataDirectory& data() const { return data_; }
  const state::Store& records() const { return records_; }
  VmPaths paths(const std::string& id) const { return {data_, id}; }

  base::Result<VmRecord> read(const std::string& id) const;
  // Every record that can be read, oldest VM first. Problems are logged as warnings.
  std::vector<VmRecord> list() const;
  // The same; problems are the caller's.
  std::vector<VmRecord> list(std::vector<state::Problem>& problems) const;
  // Ids of VMs whose records cannot be read because they are torn or altered.
  std::vector<std::string> damaged() const;
  void create(const VmRecord& record) const;
  void update(const state::RecordLock& lock, const VmRecord& record, bool durable = false) const;

  // Deletes what the VM has on disk, then its record. The VM must not run. Gone already is success.
  void destroy(state::RecordLock lock, VmRecord record) const;
  // The same for a VM whose record is damaged.
  void destroy_damaged(state::RecordLock lock) const;

 private:
  storage::DataDirectory data_;
  state::Store records_;
};

// Brings records and reality together after a crash: a VM whose monitor has died is marked exited
// (or removed, with --rm); half-made and half-removed VMs go; damaged records are set aside, which is
// said once; folders without a record go, as does what writers of records left. Never waits for a
// lock: what somebody else is at is theirs. Returns what it did, a line each.
std::vector<std::string> reconcile(const VmStore& store);

}  // namespace vm
