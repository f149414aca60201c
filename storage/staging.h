// Things that appear whole or not at all: built in a temporary sibling, made durable, renamed.
//
// The temporary is named `.<name>.<pid>-<n>.tmp` and holds an flock on itself as long as its owner
// lives. So a temporary whose lock can be taken is garbage, whoever made it and however that ended:
// no pid, no clock and no boot id is needed to tell.
#pragma once

#include <string>
#include <vector>

#include "base/fd.h"

namespace storage {

class StagingDirectory {
 public:
  // A new directory, 0700, in `parent` (which is made when missing), for a later `parent`/`name`.
  // Sweeps stale temporaries of `parent` first. Throws base::Error.
  StagingDirectory(const std::string& parent, const std::string& name);
  StagingDirectory(StagingDirectory&& other) noexcept;
  StagingDirectory& operator=(StagingDirectory&& other) = delete;
  // Removes what was not published; logs a failure to.
  ~StagingDirectory();

  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  // Makes every file in it durable and renames it to `parent`/`name`. False when that exists by now:
  // someone else was first and theirs stays (a directory there is never replaced). Throws
  // base::Error.
  [[nodiscard]] bool publish();
  // As publish(), in place of what is there: the old one is renamed away and removed.
  void publish_replacing();

 private:
  std::string parent_;
  std::string name_;
  std::string path_;  // empty once published
  base::Fd lock_;
};

class StagingFile {
 public:
  // A new empty file, `mode`, open for reading and writing.
  StagingFile(const std::string& parent, const std::string& name, mode_t mode = 0600);
  StagingFile(StagingFile&& other) noexcept;
  StagingFile& operator=(StagingFile&& other) = delete;
  ~StagingFile();

  const std::string& path() const { return path_; }
  const base::Fd& fd() const { return fd_; }

  // Makes it durable and renames it over `parent`/`name` (a file there is replaced), or over
  // `parent`/`final_name` where the name is known only now.
  void publish();
  void publish_as(const std::string& final_name);

 private:
  std::string parent_;
  std::string name_;
  std::string path_;
  base::Fd fd_;
};

// Renames a published directory to a temporary and removes it: killed halfway, the rest goes with the
// next sweep of its parent. Throws base::Error.
void discard_directory(const std::string& path);

// Removes the temporaries in `parent` whose owners are gone; returns how many. Never throws: what
// cannot be removed now is removed next time.
int sweep_stale(const std::string& parent) noexcept;

// The temporaries in `parent` whose owners are gone, for who has to prepare their removal.
std::vector<std::string> stale_temporaries(const std::string& parent);

// Makes `link` a symbolic link to `target`, replacing what is there in one step.
void replace_symlink(const std::string& target, const std::string& link);

}  // namespace storage
