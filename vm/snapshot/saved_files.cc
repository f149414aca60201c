#include "vm/snapshot/saved_files.h"

#include <fcntl.h>
#include <sys/file.h>

#include "base/error.h"
#include "vm/snapshot/snapshot.h"

namespace vm {

hypervisor::SavedMachine saved_machine_in(const std::string& directory) {
  return {directory + "/" + kSnapshotStateFile, directory + "/" + kSnapshotMemoryFile};
}

base::Fd lock_snapshot(const std::string& directory) {
  base::Fd record = base::open_file(directory + "/" + kSnapshotRecordFile, O_RDONLY);
  if (::flock(record.get(), LOCK_SH | LOCK_NB) != 0) {
    throw base::Error(base::cat("snapshot ", base::quoted(directory), " is being removed"));
  }
  return record;
}

}  // namespace vm
