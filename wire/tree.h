// Trees of files to archives and back, as `fcvm cp` moves them. The rules of where things go are
// podman's; the same code serves the host's side and the guest's, and each distrusts the other.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>

#include "base/fd.h"
#include "wire/tar.h"

namespace wire {

// Where paths are looked up: as they are, or inside a directory that no link leads out of
// (openat2(2), RESOLVE_IN_ROOT).
class TreeRoot {
 public:
  TreeRoot() = default;
  explicit TreeRoot(base::Fd root) : root_(std::move(root)) {}

  // Empty, with errno, on failure.
  base::Fd try_open(const std::string& path, int flags) const noexcept;
  bool confined() const { return root_.valid(); }

 private:
  base::Fd root_;
};

// Writes the file or directory `path` to `sink`. Links in `path` are followed; those below it are
// archived as links. The entries of a directory are called "<its name>/…", with "/." at the end of
// `path` (and for the root) "./…". Hard links stay hard links, sockets are left out. In a confined
// root what is mounted below a directory is left out, too. Throws base::Error.
void send_tree(const TreeRoot& root, const std::string& path, TarWriter::Sink sink);

struct ReceiveOptions {
  // The archive is somebody else's: `destination` has to be a directory, names are taken as they
  // are. Otherwise it has to be one file or one directory, as send_tree() makes it.
  bool any_archive = false;
  // Whose everything becomes; absent: whose the archive says.
  std::optional<std::pair<uid_t, gid_t>> owner;
  bool overwrite = false;  // a directory may replace something else, and the reverse
  // What it is called in a destination that is a directory, whatever the archive calls it; empty:
  // what is in it goes there. Absent: as the archive says.
  std::optional<std::string> name;
  // Device nodes are made, set-user-ID and set-group-ID bits kept, and with `overwrite` anything may
  // replace a directory that is not empty: without this only what `name` means may.
  bool trust_special = false;
  // Of memory for the directories, whose modes and times are set at the end.
  std::size_t max_folder_bytes = 64 << 20;
};

// Unpacks what `source` brings at `destination`: into it when it is a directory, else under its
// name. Nothing outside is touched, whatever the archive says: names with ".." are refused and no
// link below `destination` is followed. A device, FIFO or socket as the place to write to is refused.
// Reads to the end of `source`; more than 1 MiB behind the end of an archive that is not any is an
// error. Throws base::Error; what was unpacked before stays.
void receive_tree(const TreeRoot& root, const std::string& destination,
                  const TarReader::Source& source, const ReceiveOptions& options);

}  // namespace wire
