#include "vm/snapshot/saved_files.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

#include "base/error.h"
#include "base/files.h"
#include "storage/sparse_copy.h"
#include "vm/snapshot/snapshot.h"

namespace vm {

hypervisor::SavedMachine saved_machine_in(const std::string& directory) {
  return {directory + "/" + kSnapshotStateFile, directory + "/" + kSnapshotMemoryFile};
}

std::map<std::string, std::string> stamps_of_saved_machine(const std::string& directory) {
  std::map<std::string, std::string> stamps;
  for (const char* name : {kSnapshotStateFile, kSnapshotMemoryFile}) {
    stamps[name] = storage::file_stamp(base::open_file(directory + "/" + name, O_RDONLY));
  }
  return stamps;
}

base::Fd lock_snapshot(const RestorePlan& plan) {
  const std::string& directory = plan.directory;
  base::Fd record = base::try_open_file(directory + "/" + kSnapshotRecordFile, O_RDONLY);
  if (!record && errno != ENOENT) base::throw_errno("opening the record of", directory);
  if (!record || ::flock(record.get(), LOCK_SH | LOCK_NB) != 0) {
    throw base::Error(base::cat("snapshot ", base::quoted(directory), " was removed"));
  }
  if (stamps_of_saved_machine(directory) != plan.stamps) {
    throw base::Error(
        base::cat("snapshot ", base::quoted(directory), " is not the one this VM is a clone of"));
  }
  return record;
}

}  // namespace vm
